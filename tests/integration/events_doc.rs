//! docs/EVENTS.md says what the declarations say.

use std::fs;
use std::path::Path;

#[test]
fn events_md_is_what_the_declarations_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/EVENTS.md");
    let said = dcom_sensor::event::reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &said).expect("docs/EVENTS.md can be written");
    }
    let written = fs::read_to_string(&path).expect("docs/EVENTS.md can be read");
    assert!(
        written == said,
        "docs/EVENTS.md is out of date: UPDATE_DOCS=1 cargo test rewrites it"
    );
}
