//! The catalogue: shown, listed, and a user's file checked.

use std::process::Command;

use serde_json::Value;

use crate::program::{Outcome, Scratch, dcom_sensor};

fn run(arguments: &[&str]) -> Outcome {
    dcom_sensor().args(arguments).output().expect("the program runs").into()
}

#[test]
fn a_class_is_shown_with_all_that_is_known() {
    let shown = run(&["catalog", "show", "MMC20"]);
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    for part in [
        "MMC20.Application",
        "49b2791a-b1ae-4c90-9b8e-e860ba07f889",
        "critical",
        "mmc.exe",
        "ExecuteShellCommand (54, 0x36)",
        "argument 2 (Parameters)",
        "T1021.003",
        "https://",
    ] {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }
    for name in [
        "mmc20.application.1",
        "{49B2791A-B1AE-4C90-9B8E-E860BA07F889}",
        "49b2791a",
    ] {
        assert_eq!(run(&["catalog", "show", name]).stdout, shown.stdout, "{name}");
    }
    let json: Value = serde_json::from_str(&run(&["catalog", "show", "MMC20", "--json"]).stdout).expect("JSON");
    assert_eq!(json["name"], "MMC20.Application");
}

#[test]
fn a_name_of_none_or_several_classes_ends_with_2_and_says_what_to_type() {
    let none = run(&["catalog", "show", "NoSuchClass"]);
    assert_eq!((none.code, none.stdout.as_str()), (Some(2), ""));
    assert!(
        none.stderr.contains("no class `NoSuchClass`\nhint: "),
        "{}",
        none.stderr
    );
    let several = run(&["catalog", "show", "shell"]);
    assert_eq!((several.code, several.stdout.as_str()), (Some(2), ""));
    assert!(
        several
            .stderr
            .contains("dcom-sensor catalog show 9ba05972-f6a8-11cf-a442-00a0c90a8f39  # ShellWindows"),
        "{}",
        several.stderr
    );
}

#[test]
fn the_list_has_every_class_and_those_of_the_users_file() {
    let listed = run(&["catalog", "list"]);
    let json: Vec<Value> = serde_json::from_str(&run(&["catalog", "list", "--json"]).stdout).expect("JSON");
    assert!(json.len() > 100);
    for class in &json {
        assert!(
            listed.stdout.contains(class["clsid"].as_str().expect("a CLSID")),
            "{class}"
        );
    }
    assert_eq!(listed.stdout.lines().count(), json.len() + 1, "a line each, and a head");
    let scratch = Scratch::new();
    let file = scratch.write("ours.toml", USABLE);
    let more = run(&["catalog", "list", "--catalog", file.to_str().expect("a path")]);
    assert!(more.stdout.contains("Vendor.Thing") && !listed.stdout.contains("Vendor.Thing"));
}

const USABLE: &str = "\
[[class]]
clsid = \"00000000-1111-2222-3333-444444444444\"
name = \"Vendor.Thing\"
category = \"execution\"
severity = \"high\"
";

#[test]
fn a_users_file_is_checked_with_lines_and_hints() {
    let scratch = Scratch::new();
    let check = |text: &str| {
        let file = scratch.write("f.toml", text);
        let run = run(&["catalog", "check", file.to_str().expect("a path")]);
        let folder = format!("{}/", file.parent().expect("a folder").display());
        (run.code, run.stdout.replace(&folder, ""), run.stderr)
    };
    let (code, stdout, stderr) = check(USABLE);
    assert_eq!(
        (code, stdout.as_str(), stderr.as_str()),
        (Some(0), "f.toml: can be used\n", "")
    );
    let shadowing = USABLE.replace(
        "00000000-1111-2222-3333-444444444444",
        "49b2791a-b1ae-4c90-9b8e-e860ba07f889",
    );
    let (code, stdout, _) = check(&shadowing);
    assert_eq!(code, Some(0));
    assert!(
        stdout.starts_with("f.toml:2: note: replaces the entry `MMC20.Application`"),
        "{stdout}"
    );
    let wrong = USABLE
        .replace("severity", "severty")
        .replace("\"execution\"", "\"exec\"")
        + "attack_ids = [\"T1021.3\"]\n\n[[method]]\nname = \"ShellExecute\"\nprogram = 5\n";
    let (code, stdout, stderr) = check(&wrong);
    assert_eq!((code, stderr.as_str()), (Some(2), ""));
    assert_eq!(
        stdout,
        "\
f.toml:1: `severity` is missing
f.toml:4: unknown value `exec`
hint: did you mean `execution`?
f.toml:5: unknown key `severty`
hint: did you mean `severity`?
f.toml:6: `T1021.3` is no ATT&CK id
hint: a technique is written T1047, a sub-technique T1021.003
f.toml:9: note: goes before the method `ShellExecute` that there is, for every class
f.toml:10: `program` is 5, and the last argument of ShellExecute is 4
hint: counted from 0: 0 File, 1 vArgs, 2 vDir, 3 vOperation, 4 vShow
"
    );
    let missing = run(&["catalog", "check", "no-such-file.toml"]);
    assert_eq!(missing.code, Some(2));
    assert!(
        missing.stderr.starts_with("dcom-sensor: no-such-file.toml: "),
        "{}",
        missing.stderr
    );
}

#[test]
fn completions_and_the_manual_know_every_command_and_option() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let run = run(&["completions", shell]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(
            run.stdout.contains("min-severity") && run.stdout.contains("catalog"),
            "{shell}"
        );
    }
    let manual = run(&["man"]);
    assert_eq!((manual.code, manual.stderr.as_str()), (Some(0), ""));
    assert!(manual.stdout.starts_with(".ie"), "{}", manual.stdout);
    assert!(!manual.stdout.contains("(1)") && !manual.stdout.contains("<\\fB\\-\\-explain"));
    assert!(manual.stdout.contains(".TP\ndcom\\-sensor replay\nRead captures"));
    for part in [
        "DCOM\\-SENSOR REPLAY",
        "DCOM\\-SENSOR CATALOG CHECK",
        "\\-\\-baseline",
        "SIGNALS",
        "EXIT STATUS",
        "dcom\\-sensor live \\-i eth1 ",
    ] {
        let plain = manual.stdout.contains(part) || manual.stdout.contains(&part.replace("\\-", "-"));
        assert!(plain, "{part}");
    }
}

#[test]
fn bash_completes_what_stands_behind_a_command() {
    let scratch = Scratch::new();
    let script = scratch.write("completions", &run(&["completions", "bash"]).stdout);
    let completed = |words: &str, last: &str| {
        let ask = "source \"$1\"; read -ra COMP_WORDS <<< \"dcom-sensor $2\"; COMP_WORDS+=(\"$3\"); \
                   COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _dcom__sensor dcom-sensor \"$3\" \"${COMP_WORDS[-2]}\"; \
                   echo \"${COMPREPLY[*]}\"";
        let mut bash = Command::new("bash");
        let asked = bash.args(["-c", ask, "bash"]).arg(&script).args([words, last]).output();
        String::from_utf8(asked.expect("bash runs").stdout).expect("text")
    };
    for (words, last, reply) in [
        ("", "rep", "replay report\n"),
        ("live", "--ro", "--rotate-size --rotate-minutes\n"),
        ("live --compress", "", "zst gz none\n"),
        ("replay", "--min", "--min-severity\n"),
        ("catalog", "sh", "show\n"),
        ("catalog show", "--cat", "--catalog\n"),
    ] {
        assert_eq!(completed(words, last), reply, "{words} {last}");
    }
}

#[test]
fn a_detection_is_explained_by_its_number() {
    let known = run(&["--explain", "1021303"]);
    assert_eq!((known.code, known.stderr.as_str()), (Some(0), ""));
    assert!(
        known.stdout.starts_with("# ") && known.stdout.contains("## False positives"),
        "{}",
        known.stdout
    );
    let unknown = run(&["--explain", "1"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (Some(2), ""));
    assert!(unknown.stderr.contains("no signature 1"), "{}", unknown.stderr);
    let neither = run(&[]);
    assert_eq!(neither.code, Some(2));
    assert!(neither.stderr.contains("Usage: "), "{}", neither.stderr);
}
