//! The script that a command line hands to PowerShell encoded.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use dcom_parsers::oaut::Bstr;

/// Padding is often left out, and PowerShell does not mind what stands in the last bits.
const LAX: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
/// `powershell -?`: the option's name may be cut anywhere, and has a second short form.
const OPTION: &str = "encodedcommand";
const SHORT: &str = "ec";

/// The script behind `-EncodedCommand`, whatever it is cut to, in a command line that names PowerShell.
pub(crate) fn decoded(command_line: &str) -> Option<String> {
    let lower = command_line.to_ascii_lowercase();
    if !lower.contains("powershell") && !lower.contains("pwsh") {
        return None;
    }
    let mut words = command_line
        .split([' ', '\t', '"', '\''])
        .filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let option = word.strip_prefix(['-', '/', '–']).map(str::to_ascii_lowercase);
        let is_it = |name: &String| !name.is_empty() && (OPTION.starts_with(name.as_str()) || name == SHORT);
        if option.as_ref().is_some_and(is_it)
            && let Some(script) = words.clone().next().and_then(script)
        {
            return Some(script);
        }
    }
    None
}

/// Base64 of UTF-16 that says something: half of a script's characters are plain letters, digits or spaces.
fn script(word: &str) -> Option<String> {
    let bytes = LAX.decode(word.trim_end_matches(',')).ok()?;
    let text = Bstr::new(&bytes[..bytes.len() & !1]).to_text();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c.is_whitespace();
    let (plain, all) = text
        .chars()
        .fold((0, 0), |(plain, all), c| (plain + usize::from(is_plain(c)), all + 1));
    (all > 0 && plain * 2 >= all).then_some(text)
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
