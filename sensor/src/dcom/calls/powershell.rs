//! The script that a command line hands to PowerShell encoded.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use dcom_parsers::oaut::Bstr;
use memchr::memchr2_iter;

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
/// What an option begins with.
const SIGNS: [&[u8]; 3] = [b"-", b"/", "–".as_bytes()];

/// The script behind `-EncodedCommand`, whatever it is cut to, in a command line that names PowerShell.
pub(crate) fn decoded(command_line: &str) -> Option<String> {
    if !names_powershell(command_line.as_bytes()) {
        return None;
    }
    // Scripts are long, and bytes faster to look through than characters.
    let is_between = |byte: &u8| matches!(byte, b' ' | b'\t' | b'"' | b'\'');
    let words = command_line.as_bytes().split(is_between);
    let mut words = words.filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        if SIGNS.iter().any(|sign| word.strip_prefix(*sign).is_some_and(is_option))
            && let Some(script) = words.clone().next().and_then(script)
        {
            return Some(script);
        }
    }
    None
}

fn names_powershell(line: &[u8]) -> bool {
    memchr2_iter(b'p', b'P', line).any(|at| {
        let rest = &line[at..];
        let begins = |name: &[u8]| rest.get(..name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name));
        begins(b"powershell") || begins(b"pwsh")
    })
}

fn is_option(name: &[u8]) -> bool {
    let cut = OPTION
        .get(..name.len())
        .is_some_and(|cut| cut.eq_ignore_ascii_case(name));
    !name.is_empty() && (cut || name.eq_ignore_ascii_case(SHORT))
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
