//! docs/TOOLS.md, written from the catalogue.

use std::fmt::Write;

use super::fact::{Expected, Fact, Field};
use super::tool::Tool;
use super::{Catalog, Tools};

const OPENING: &str = "# Tools

Which tool a client is, by how it writes. Written from `sensor/src/catalog/tools.toml`; `UPDATE_DOCS=1 cargo test` rewrites
it.

`dcom.tool` of a record or an alert holds `name`, `family`, `confidence` and `because`. A tool is named when facts of
several kinds agree. Facts about one part of what is sent are of one kind and count once, so that one fact alone, seen in
however many places, names no tool. Of tools that look the same on the wire the family is said.

- What the activation's connection shows counts for the calls on its objects too: by the activation that a call descends
  from; where that is sealed, for a connection that was opened after the last activation between the two machines and shows
  a fact of the same family itself.
- `confidence` is `high` for three kinds or more and `medium` for two, one step lower where the profile was read from a
  tool's source and not compared with captures of it. A family named because several of its tools fit is `low`.
- A name says how the client writes, not what it is for: administrators use impacket and PowerShell too. What Windows' own
  clients do without .NET (WMI tools, consoles, compiled programs) names no tool, and what any .NET program does no more than
  `.NET and PowerShell`.
- Only RPC directly over TCP is looked at: in named pipes sizes are SMB's choice.
";

const OWN: &str = "## Tools of your own

A file given with `--catalog` may hold further facts and tools, or replace built-in ones by `id` and `name`:

```toml
[[fact]]
id = \"our-scanner-name\"
what = \"the activation is addressed to SCANNER-TEST\"
field = \"server_name\"
is = \"SCANNER-TEST\"
seen_in = \"our own captures\"

[[tool]]
name = \"our scanner\"
family = \"impacket\"
refines = \"impacket family\"
facts = [\"our-scanner-name\"]
least = 1        # kinds that have to agree: 2 at the least where it refines nothing
verified = true
```

A fact compares its field by `is`, `from` and `to` (numbers, both included), `mask` (no bits outside of it), `starts`
(texts) or `contains` (parts of a text or elements of a list, in this order; bytes in hexadecimal). `times` says how often
it has to be seen on one connection.
";

/// All tools and facts that are built in: the text of docs/TOOLS.md.
pub fn tools_page() -> String {
    let catalog = Catalog::built_in();
    let tools = catalog.tools();
    let mut text = OPENING.to_owned();
    // Writing to memory cannot fail.
    let _ = writeln!(text, "\n## The tools\n");
    for tool in tools.iter() {
        let _ = writeln!(text, "{}", described(tool, tools));
    }
    let _ = writeln!(
        text,
        "## The facts\n\n| fact | kind | the wire shows | compared | seen in |\n|---|---|---|---|---|"
    );
    for fact in tools.facts() {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            fact.id,
            fact.field.kind().name(),
            cell(&fact.what),
            cell(&compared(fact)),
            cell(&fact.seen_in)
        );
    }
    let _ = writeln!(
        text,
        "\n## What can be compared\n\n| field | form | kind | meaning |\n|---|---|---|---|"
    );
    for (field, meaning) in Field::ALL {
        let (form, kind) = (field.form().name(), field.kind().name());
        let _ = writeln!(text, "| `{}` | {form} | {kind} | {} |", field.name(), cell(meaning));
    }
    let _ = write!(text, "\n{OWN}");
    text
}

fn described(tool: &Tool, tools: &Tools) -> String {
    let list = |ids: &[String]| ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    let mut text = format!("### {}\n\n", tool.name);
    let source = if tool.verified {
        "compared with captures"
    } else {
        "from its source, not compared with captures"
    };
    let _ = write!(text, "Family {}; {source}. ", tool.family);
    if let Some(base) = &tool.refines {
        let _ = write!(text, "A special case of {base}, named when that fits and ");
    } else {
        let _ = write!(text, "Named when ");
    }
    let kinds = match tool.least {
        1 => "one kind".to_owned(),
        least => format!("{least} kinds"),
    };
    let _ = writeln!(text, "facts of {kinds} agree: {}.", list(&tool.facts));
    if !tool.excludes.is_empty() {
        let _ = writeln!(text, "Not with: {}.", list(&tool.excludes));
    }
    if !tool.notes.is_empty() {
        let _ = writeln!(text, "\n{}", tool.notes);
    }
    let special: Vec<_> = tools
        .iter()
        .filter(|it| it.refines.as_ref() == Some(&tool.name))
        .map(|it| it.name.as_str())
        .collect();
    if !special.is_empty() {
        let _ = writeln!(text, "\nTold apart where more is seen: {}.", special.join(", "));
    }
    text
}

fn compared(fact: &Fact) -> String {
    let field = fact.field.name();
    let hexadecimal = |number: u64| {
        if number > 0xffff {
            format!("{number:#x}")
        } else {
            number.to_string()
        }
    };
    let mut parts = Vec::new();
    match &fact.is {
        None => {}
        Some(Expected::Flag(is)) => parts.push(format!("is {is}")),
        Some(Expected::Number(is)) => parts.push(format!("is {}", hexadecimal(*is))),
        Some(Expected::Text(is)) => parts.push(format!("is `{is}`")),
        Some(Expected::List(is)) => parts.push(format!("is `{}`", is.join(" "))),
    }
    parts.extend(fact.from.map(|from| format!("from {from}")));
    parts.extend(fact.to.map(|to| format!("to {to}")));
    parts.extend(fact.mask.map(|mask| format!("within {mask:#010x}")));
    parts.extend(fact.starts.as_ref().map(|start| format!("starts with `{start}`")));
    if !fact.contains.is_empty() {
        let all: Vec<_> = fact.contains.iter().map(|part| format!("`{part}`")).collect();
        parts.push(format!("contains {}", all.join(" … ")));
    }
    if fact.times > 1 {
        parts.push(format!("{} times", fact.times));
    }
    format!("`{field}` {}", parts.join(" "))
}

fn cell(text: &str) -> String {
    text.trim().replace('|', "\\|")
}
