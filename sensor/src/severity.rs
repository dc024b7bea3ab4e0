//! How bad a thing is, in the one scale that every log uses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A step of the scale. The worse, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing, nothing to do.
    Informational,
    /// Of use beside other signs.
    Low,
    /// Worth a look when there is time.
    Medium,
    /// Worth a look today.
    High,
    /// Worth a look now.
    Critical,
}

impl Severity {
    /// The worst first.
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Informational];

    /// EVE's way: 1 is the worst, 5 the mildest.
    pub fn number(self) -> u8 {
        match self {
            Self::Critical => 1,
            Self::High => 2,
            Self::Medium => 3,
            Self::Low => 4,
            Self::Informational => 5,
        }
    }

    /// In lower case, as in settings and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Informational => "informational",
        }
    }
}

/// How many there were of each severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BySeverity([u64; Severity::ALL.len()]);

impl BySeverity {
    /// One more.
    pub fn count(&mut self, severity: Severity) {
        if let Some(index) = Severity::ALL.iter().position(|&known| known == severity) {
            self.0[index] += 1;
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Was there one of this severity or above?
    pub fn has(&self, least: Severity) -> bool {
        self.there_are().any(|(severity, _)| severity >= least)
    }

    /// Those of which there are any, the worst first.
    fn there_are(&self) -> impl Iterator<Item = (Severity, u64)> {
        Severity::ALL.into_iter().zip(self.0).filter(|&(_, count)| count > 0)
    }
}

/// ` (1 critical, 2 high)`; nothing where there are none.
impl fmt::Display for BySeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there_are: Vec<String> = self
            .there_are()
            .map(|(severity, count)| format!("{count} {severity}"))
            .collect();
        if there_are.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", there_are.join(", "))
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Severity {
    type Err = UnknownSeverity;

    fn from_str(text: &str) -> Result<Self, UnknownSeverity> {
        let known = Self::ALL
            .into_iter()
            .find(|severity| severity.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| UnknownSeverity(text.to_owned()))
    }
}

/// A word that is no step of the scale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSeverity(pub String);

impl fmt::Display for UnknownSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no severity: ", self.0)?;
        for (index, severity) in Severity::ALL.into_iter().enumerate() {
            write!(f, "{}{severity}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownSeverity {}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};

    use super::*;

    #[test]
    fn critical_is_the_greatest_and_number_one() {
        assert_eq!(Severity::ALL.into_iter().max(), Some(Severity::Critical));
        assert_eq!(Severity::ALL.map(Severity::number), [1, 2, 3, 4, 5]);
        assert!(Severity::ALL.is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn names_are_read_back_by_settings_and_by_serde() {
        for severity in Severity::ALL {
            assert_eq!(severity.name().parse(), Ok(severity));
            assert_eq!(severity.name().to_uppercase().parse(), Ok(severity));
            let deserializer: StrDeserializer<'_, Error> = severity.name().into_deserializer();
            assert_eq!(Severity::deserialize(deserializer), Ok(severity));
        }
    }

    #[test]
    fn unknown_severity_is_told_with_those_there_are() {
        let error = "urgent".parse::<Severity>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`urgent` is no severity: critical, high, medium, low, informational"
        );
    }
}
