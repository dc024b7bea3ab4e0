//! The page: template, style and script as they stand beside this file, the data, and what forbids everything else.
//!
//! Data goes to two places. In the JSON, nothing stands that could end its element; the script puts it on the page as text
//! and never as markup. The headline is there without the script too, escaped.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize as _;
use serde_json::ser::{Formatter, Serializer};
use sha2::{Digest, Sha256};

use super::model::Model;

const TEMPLATE: &str = include_str!("report.html");
const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// Writes the page. Where the template says `@NAME@`, that goes; what is put in is not looked at again.
pub(super) fn write(model: &Model, out: &mut impl Write) -> io::Result<()> {
    let headline = &model.headline;
    for (number, part) in TEMPLATE.split('@').enumerate() {
        if number.is_multiple_of(2) {
            out.write_all(part.as_bytes())?;
            continue;
        }
        match part {
            "POLICY" => write!(out, "{}", policy())?,
            "STYLE" => write!(out, "{STYLE}")?,
            "SCRIPT" => write!(out, "{SCRIPT}")?,
            "DATA" => model.serialize(&mut Serializer::with_formatter(&mut *out, InPage))?,
            "HEADLINE" => write!(out, "{}", escaped(&headline.text))?,
            "VERDICT" => write!(out, "{}", escaped(headline.verdict))?,
            "VERDICT_TEXT" => write!(out, "{}", escaped(&headline.verdict_text))?,
            "FACTS" => {
                for (label, text) in &headline.facts {
                    write!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escaped(label), escaped(text))?;
                }
            }
            "VERSION" => write!(out, "{}", env!("CARGO_PKG_VERSION"))?,
            other => return Err(io::Error::other(format!("the template names `{other}`"))),
        }
    }
    Ok(())
}

/// Nothing is loaded; this style applies and this script runs, no other.
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut all, c| {
        match c {
            '&' => all.push_str("&amp;"),
            '<' => all.push_str("&lt;"),
            '>' => all.push_str("&gt;"),
            '"' => all.push_str("&quot;"),
            '\'' => all.push_str("&#39;"),
            c => all.push(c),
        }
        all
    })
}

/// JSON that ends no element and no line of script.
struct InPage;

impl Formatter for InPage {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let harmful = |c: char| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        let mut rest = fragment;
        while let Some(at) = rest.find(harmful) {
            let (before, after) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut after = after.chars();
            let c = after.next().unwrap_or_default();
            write!(writer, "\\u{:04x}", u32::from(c))?;
            rest = after.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_ends_no_element() {
        let mut out = Vec::new();
        let hostile = "</script><!--\u{2028}&\u{2029}é";
        hostile
            .serialize(&mut Serializer::with_formatter(&mut out, InPage))
            .unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, r#""\u003c/script\u003e\u003c!--\u2028\u0026\u2029é""#);
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), hostile);
    }

    #[test]
    fn the_headline_is_text() {
        assert_eq!(
            escaped("<a href='x' b=\"&\">"),
            "&lt;a href=&#39;x&#39; b=&quot;&amp;&quot;&gt;"
        );
    }

    #[test]
    fn style_and_script_end_no_element_and_name_no_place() {
        for text in [STYLE, SCRIPT] {
            assert!(!text.contains("</s") && !text.contains("<!--"));
        }
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "fetch(",
        ] {
            assert!(!SCRIPT.contains(word), "{word}");
        }
        // A template's odd parts are names, all of which are known.
        assert_eq!(TEMPLATE.matches('@').count() % 2, 0);
    }
}
