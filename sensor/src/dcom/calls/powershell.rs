//! The script that a command line hands to PowerShell encoded.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use dcom_parsers::oaut::Bstr;
use memchr::{memchr, memchr2_iter};

/// Padding is often left out, and PowerShell does not mind what stands in the last bits.
const LAX: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
/// `powershell -?`: the option's name may be cut anywhere, and has a second short form.
const OPTION: &[u8] = b"encodedcommand";
const SHORT: &[u8] = b"ec";
/// Options behind which no other stands.
const TAKE_ALL: [&[u8]; 2] = [b"command", b"file"];
/// What its program is called.
const NAMES: [&[u8]; 2] = [b"powershell", b"pwsh"];
/// What an option begins with.
const SIGNS: [&[u8]; 3] = [b"-", b"/", "–".as_bytes()];

/// The script behind `-EncodedCommand`, whatever it is cut to, in a command line that names PowerShell.
pub(crate) fn decoded(command_line: &str) -> Option<String> {
    // Scripts are long, and bytes faster to look through than characters.
    let line = command_line.as_bytes();
    // What the shell would pass on, it passes on without its escapes.
    if memchr(b'^', line).is_some() && (begins_anywhere(line, b"cmd") || begins_anywhere(line, b"comspec")) {
        let passed_on: Vec<u8> = line.iter().copied().filter(|&byte| byte != b'^').collect();
        return in_words(&passed_on);
    }
    in_words(line)
}

fn in_words(line: &[u8]) -> Option<String> {
    let is_between = |byte: &u8| matches!(byte, b' ' | b'\t' | b'"' | b'\'');
    let mut words = line.split(is_between).filter(|word| !word.is_empty());
    let mut is_powershells = false;
    while let Some(word) = words.next() {
        is_powershells = is_powershells || NAMES.iter().any(|name| begins_anywhere(word, name));
        let option = SIGNS.iter().find_map(|sign| word.strip_prefix(*sign));
        let Some(option) = option.filter(|option| is_powershells && !option.is_empty()) else {
            continue;
        };
        if (is_cut(option, OPTION) || option.eq_ignore_ascii_case(SHORT))
            && let Some(script) = words.clone().next().and_then(script)
        {
            return Some(script);
        }
        // All that follows is text of the script or for it, and no option.
        is_powershells = !TAKE_ALL.iter().any(|all| is_cut(option, all));
    }
    None
}

fn begins_anywhere(text: &[u8], name: &[u8]) -> bool {
    let [lower, ..] = *name else { return false };
    memchr2_iter(lower, lower.to_ascii_uppercase(), text).any(|at| {
        let found = text.get(at..at + name.len());
        found.is_some_and(|found| found.eq_ignore_ascii_case(name))
    })
}

fn is_cut(option: &[u8], whole: &[u8]) -> bool {
    whole
        .get(..option.len())
        .is_some_and(|cut| cut.eq_ignore_ascii_case(option))
}

/// Base64 of UTF-16 that says something: half of a script's characters are plain letters, digits or spaces.
fn script(mut word: &[u8]) -> Option<String> {
    while let [before @ .., b','] = word {
        word = before;
    }
    let bytes = LAX.decode(word).ok()?;
    let text = Bstr::new(&bytes[..bytes.len() & !1]).to_text();
    let all = text.chars().count();
    let plain = text.chars().filter(|c| c.is_ascii_alphanumeric() || c.is_whitespace());
    (all > 0 && plain.count() * 2 >= all).then_some(text)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose;

    use super::*;

    fn encoded(script: &str) -> String {
        let bytes: Vec<u8> = script.encode_utf16().flat_map(u16::to_le_bytes).collect();
        general_purpose::STANDARD.encode(bytes)
    }

    #[test]
    fn the_option_may_be_cut_and_the_script_is_told() {
        let script = "Write-Host 'héllo'; calc.exe";
        let encoded = encoded(script);
        for option in ["-e", "-ec", "-enc", "-EncodedCommand", "/enc", "-eNcOd"] {
            let line = format!("cmd.exe /c start /b C:\\Windows\\powershell -noP -sta -w 1 {option}  {encoded} ");
            assert_eq!(decoded(&line).as_deref(), Some(script), "{option}");
        }
        for line in [
            format!("cmd.exe /c pow^ershell -e^nc {encoded}"),
            format!("%COMSPEC% /c \"p^wsh -c powershell -enc {encoded}\""),
            format!("powershell -c \"cmd /c powershell -enc {encoded}\""),
        ] {
            assert_eq!(decoded(&line).as_deref(), Some(script), "{line}");
        }
        let unpadded = encoded.trim_end_matches('=');
        assert_eq!(
            decoded(&format!("powershell -e \"{unpadded}\"")).as_deref(),
            Some(script)
        );
    }

    #[test]
    fn what_is_no_script_is_not_told() {
        let encoded = encoded("calc.exe");
        for line in [
            String::new(),
            format!("cmd.exe -e {encoded}"),
            format!("pow^ershell -enc {encoded}"),
            format!("a.exe -e {encoded} powershell"),
            format!("powershell.exe -c \"echo hi\" -enc {encoded}"),
            format!("powershell.exe -File a.ps1 -e {encoded}"),
            "powershell -ep bypass -file x.ps1".to_owned(),
            "powershell -e".to_owned(),
            "powershell -enc !!!!".to_owned(),
            "powershell -Exec bypass".to_owned(),
            "powershell -e AQIDBAUGBwg=".to_owned(),
        ] {
            assert_eq!(decoded(&line), None, "{line}");
        }
    }
}
