//! docs/EVENTS.md and docs/schema say what the declarations say.

use std::fs;
use std::path::Path;

fn compare(file: &str, said: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, said).expect("the page can be written");
    }
    let written = fs::read_to_string(&path).expect("the page can be read");
    assert!(
        written == said,
        "docs/{file} is out of date: UPDATE_DOCS=1 cargo test rewrites it"
    );
}

#[test]
fn events_md_is_what_the_declarations_say() {
    compare("EVENTS.md", &dcom_sensor::event::reference());
}

#[test]
fn the_schema_of_eve_json_is_what_the_declarations_say() {
    compare("schema/eve.schema.json", &dcom_sensor::event::eve_schema());
}

#[test]
fn the_index_template_is_what_the_declarations_say() {
    compare("schema/ecs-index-template.json", &dcom_sensor::event::ecs_template());
}
