//! Tools, by how they write: which of them shows which facts, and what follows when several facts agree.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Confidence;
use super::fact::{Fact, Field, Kind, Seen};

/// A tool, or tools that look the same.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// What it is called in the logs.
    pub name: String,
    /// The tools that share most of its shape: what is said when several of them fit.
    pub family: String,
    /// The tool that it is a special case of, which has to fit first.
    pub refines: Option<String>,
    /// The facts that it shows, by id.
    pub facts: Vec<String>,
    /// Of how many kinds they have to be, at the least.
    pub least: usize,
    /// Facts that it never shows.
    #[serde(default)]
    pub excludes: Vec<String>,
    /// Was the profile compared with captures of the tool at work?
    #[serde(default)]
    pub verified: bool,
    /// What else there is to know.
    #[serde(default)]
    pub notes: String,
}

/// All facts and tools.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    facts: Vec<Fact>,
    /// The places of the facts that are looked for in each field, by the field's number.
    by_field: Vec<Vec<usize>>,
    profiles: Vec<Profile>,
}

/// A tool, with the places of what it names.
#[derive(Clone, Debug)]
struct Profile {
    tool: Tool,
    refines: Option<usize>,
    facts: Vec<usize>,
    excludes: Vec<usize>,
}

/// A fact that was seen on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sighting {
    /// Its place among all facts.
    fact: usize,
    /// Where it was seen first.
    frame: u64,
    /// How often.
    times: u32,
}

/// What was seen, by fact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sightings(pub(super) Vec<Sighting>);

/// A tool that was told by its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its name, or that of its family.
    pub name: String,
    /// Tools like it.
    pub family: String,
    /// How sure that is.
    pub confidence: Confidence,
    /// The facts, and where they were seen.
    pub because: Vec<String>,
}

impl Sightings {
    /// Both together.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let mut all = self.clone();
        for sighting in &other.0 {
            match all.0.iter_mut().find(|known| known.fact == sighting.fact) {
                Some(known) => known.times = known.times.saturating_add(sighting.times),
                None => all.0.push(*sighting),
            }
        }
        all
    }
}

/// A tool that fits.
struct Fit<'a> {
    place: usize,
    profile: &'a Profile,
    kinds: Kinds,
}

/// Kinds of facts, a bit each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kinds(u32);

impl Kinds {
    fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}

/// What was seen often enough, by the places of all facts.
type Shown = Vec<Option<Sighting>>;

impl Tools {
    /// Adds facts and tools; what has a known id or name is replaced. When something is wrong nothing changes; each fault
    /// comes with the place of the entry to blame, first among facts, then among tools.
    pub(super) fn extend(&mut self, facts: Vec<Fact>, tools: Vec<Tool>) -> Result<(), Vec<(usize, String)>> {
        let mut all = self.clone();
        let mut faults = Vec::new();
        let given = facts.len();
        for (place, fact) in facts.into_iter().enumerate() {
            faults.extend(fact.fault().map(|fault| (place, fault)));
            match all.facts.iter_mut().find(|known| known.id == fact.id) {
                Some(known) => *known = fact,
                None => all.facts.push(fact),
            }
        }
        all.by_field = vec![Vec::new(); Field::ALL.len()];
        for (place, fact) in all.facts.iter().enumerate() {
            all.by_field[fact.field as usize].push(place);
        }
        for (place, tool) in tools.into_iter().enumerate() {
            let profile = match all.profile(tool) {
                Ok(profile) => profile,
                Err(fault) => {
                    faults.push((given + place, fault));
                    continue;
                }
            };
            match all
                .profiles
                .iter_mut()
                .find(|known| known.tool.name == profile.tool.name)
            {
                Some(known) => *known = profile,
                None => all.profiles.push(profile),
            }
        }
        // A fact may have been replaced by one of another kind.
        let known = all.profiles.iter().filter_map(|profile| all.check(profile).err());
        if faults.is_empty() {
            faults.extend(known.map(|fault| (0, fault)));
        }
        if faults.is_empty() {
            *self = all;
            return Ok(());
        }
        Err(faults)
    }

    /// Finds what a tool names.
    fn profile(&self, tool: Tool) -> Result<Profile, String> {
        let name = &tool.name;
        if name.trim().is_empty() || tool.family.trim().is_empty() {
            return Err("a tool has an empty `name` or `family`".to_owned());
        }
        let places = |ids: &[String]| -> Result<Vec<usize>, String> {
            ids.iter()
                .map(|id| {
                    let place = self.facts.iter().position(|fact| fact.id == *id);
                    place.ok_or_else(|| format!("tool `{name}`: there is no fact `{id}`"))
                })
                .collect()
        };
        let base = |base: &String| {
            let place = self
                .profiles
                .iter()
                .position(|it| it.tool.name == *base && it.refines.is_none());
            place.ok_or_else(|| format!("tool `{name}`: there is no tool `{base}` before it that it can refine"))
        };
        let profile = Profile {
            refines: tool.refines.as_ref().map(base).transpose()?,
            facts: places(&tool.facts)?,
            excludes: places(&tool.excludes)?,
            tool,
        };
        self.check(&profile)?;
        Ok(profile)
    }

    /// INVARIANT: facts of two kinds at least stand behind every name.
    fn check(&self, profile: &Profile) -> Result<(), String> {
        let (name, least) = (&profile.tool.name, profile.tool.least);
        let needed = if profile.refines.is_some() { 1 } else { 2 };
        if least < needed {
            return Err(format!(
                "tool `{name}`: `least` is at least {needed}: one fact alone names no tool"
            ));
        }
        let kinds: BTreeSet<_> = profile.facts.iter().filter_map(|&place| self.kind(place)).collect();
        if kinds.len() < least {
            let count = kinds.len();
            return Err(format!(
                "tool `{name}`: its facts are of {count} kinds, and `least` asks for {least}"
            ));
        }
        Ok(())
    }

    fn kind(&self, place: usize) -> Option<Kind> {
        self.facts.get(place).map(|fact| fact.field.kind())
    }

    /// All facts, in the order of the files.
    pub fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.facts.iter()
    }

    /// All tools, in the order of the files.
    pub fn iter(&self) -> impl Iterator<Item = &Tool> {
        self.profiles.iter().map(|profile| &profile.tool)
    }

    /// Is there something in a field that has not been seen there yet?
    pub fn looks_for(&self, field: Field, sightings: &Sightings) -> bool {
        self.of(field).any(|(place, fact)| {
            let known = sightings.0.iter().find(|sighting| sighting.fact == place);
            known.is_none_or(|known| known.times < fact.times)
        })
    }

    /// The facts of a field, each with its place among all.
    fn of(&self, field: Field) -> impl Iterator<Item = (usize, &Fact)> {
        let places = self.by_field.get(field as usize).map(Vec::as_slice).unwrap_or_default();
        places.iter().filter_map(|&place| Some((place, self.facts.get(place)?)))
    }

    /// Takes note of what was seen in a field. True when that was something new.
    pub fn see(&self, field: Field, seen: Seen<'_>, frame: u64, sightings: &mut Sightings) -> bool {
        let mut news = false;
        for (place, fact) in self.of(field) {
            let known = sightings.0.iter_mut().find(|sighting| sighting.fact == place);
            // What was seen often enough need not be looked for again.
            if known.as_ref().is_some_and(|known| known.times >= fact.times) || !fact.holds(seen) {
                continue;
            }
            news = true;
            match known {
                Some(known) => known.times += 1,
                None => sightings.0.push(Sighting {
                    fact: place,
                    frame,
                    times: 1,
                }),
            }
        }
        news
    }

    /// The sighting of a fact, if it was seen often enough.
    fn seen(&self, place: usize, sightings: &Sightings) -> Option<Sighting> {
        let times = self.facts.get(place)?.times;
        let sighting = sightings.0.iter().find(|sighting| sighting.fact == place)?;
        (sighting.times >= times).then_some(*sighting)
    }

    /// Does a tool of this family show any of these?
    pub fn shows(&self, told: &Told, sightings: &Sightings) -> bool {
        let mut family = self.profiles.iter().filter(|it| it.tool.family == told.family);
        family.any(|it| it.facts.iter().any(|&place| self.seen(place, sightings).is_some()))
    }

    /// The tool that these facts name, if they do.
    pub fn tell(&self, sightings: &Sightings) -> Option<Told> {
        if sightings.0.len() < 2 {
            return None;
        }
        let shown = self.shown(sightings);
        let fits = || (0..self.profiles.len()).filter_map(|place| self.fit(place, &shown));
        let bases = || fits().filter(|fit| fit.profile.refines.is_none());
        let most = bases().map(|fit| fit.kinds.count()).max()?;
        let mut best = bases().filter(|fit| fit.kinds.count() == most);
        let base = best.next()?;
        let family = &base.profile.tool.family;
        if let Some(other) = best.next() {
            // Several fit as well: they are one family, or nothing can be said.
            let mut others = std::iter::once(other).chain(best);
            let alike = others.all(|fit| fit.profile.tool.family == *family);
            return alike.then(|| self.told(family, Confidence::Low, &[base.profile], &shown));
        }
        let mut special = fits().filter(|fit| fit.profile.refines == Some(base.place));
        let (mut name, mut verified) = (&base.profile.tool.name, base.profile.tool.verified);
        let (mut kinds, mut profiles) = (base.kinds, vec![base.profile]);
        if let (Some(only), None) = (special.next(), special.next()) {
            name = &only.profile.tool.name;
            verified &= only.profile.tool.verified;
            kinds = Kinds(kinds.0 | only.kinds.0);
            profiles.push(only.profile);
        }
        let confidence = match (verified, kinds.count()) {
            (true, 3..) => Confidence::High,
            (true, _) | (false, 3..) => Confidence::Medium,
            (false, _) => Confidence::Low,
        };
        Some(self.told(name, confidence, &profiles, &shown))
    }

    fn shown(&self, sightings: &Sightings) -> Shown {
        let mut shown = vec![None; self.facts.len()];
        for sighting in &sightings.0 {
            let often = self
                .facts
                .get(sighting.fact)
                .filter(|fact| sighting.times >= fact.times);
            if let (Some(_), Some(place)) = (often, shown.get_mut(sighting.fact)) {
                *place = Some(*sighting);
            }
        }
        shown
    }

    fn fit(&self, place: usize, shown: &Shown) -> Option<Fit<'_>> {
        let profile = self.profiles.get(place)?;
        let seen = |place: &&usize| shown.get(**place).is_some_and(Option::is_some);
        if profile.excludes.iter().any(|place| seen(&place)) {
            return None;
        }
        let seen = profile.facts.iter().filter(seen);
        let kinds = seen
            .filter_map(|&place| self.kind(place))
            .fold(0, |kinds, kind| kinds | 1 << kind as u32);
        let kinds = Kinds(kinds);
        (kinds.count() >= profile.tool.least).then_some(Fit { place, profile, kinds })
    }

    fn told(&self, name: &str, confidence: Confidence, profiles: &[&Profile], shown: &Shown) -> Told {
        let mut because: Vec<String> = Vec::new();
        let facts = profiles.iter().flat_map(|profile| &profile.facts);
        for sighting in facts.filter_map(|&place| *shown.get(place)?) {
            let Some(fact) = self.facts.get(sighting.fact) else {
                continue;
            };
            let said = format!("{} (frame {})", fact.what, sighting.frame);
            if !because.contains(&said) {
                because.push(said);
            }
        }
        Told {
            name: name.to_owned(),
            family: profiles
                .first()
                .map_or_else(String::new, |base| base.tool.family.clone()),
            confidence,
            because,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalog::Catalog;

    /// Sightings of these facts, as often as they ask for.
    fn sightings(tools: &Tools, ids: &[&str]) -> Sightings {
        let place = |id: &&str| {
            let place = tools.facts.iter().position(|fact| fact.id == *id);
            place.unwrap_or_else(|| panic!("no fact {id}"))
        };
        let sighting = |place: usize| Sighting {
            fact: place,
            frame: 7,
            times: tools.facts[place].times,
        };
        Sightings(ids.iter().map(place).map(sighting).collect())
    }

    fn told(ids: &[&str]) -> Option<(String, Confidence)> {
        let catalog = Catalog::built_in();
        let told = catalog.tools().tell(&sightings(catalog.tools(), ids))?;
        Some((told.name, told.confidence))
    }

    #[allow(clippy::unnecessary_wraps, reason = "short for what is expected")]
    fn named(name: &str, confidence: Confidence) -> Option<(String, Confidence)> {
        Some((name.to_owned(), confidence))
    }

    #[test]
    fn with_each_kind_that_is_gone_a_tool_is_less_sure_and_in_the_end_unnamed() {
        let facts = [
            "impacket-fragments",
            "impacket-auth-context",
            "impacket-ntlm-flags",
            "stub-464",
        ];
        let family = |confidence| named("impacket family", confidence);
        assert_eq!(told(&facts), family(Confidence::High));
        assert_eq!(told(&facts[1..]), family(Confidence::High));
        assert_eq!(told(&facts[2..]), family(Confidence::Medium));
        assert_eq!(told(&facts[3..]), None);
        assert_eq!(told(&["impacket-fragments", "stub-464", "windows-properties"]), None);
    }

    #[test]
    fn facts_of_one_kind_count_once() {
        assert_eq!(
            told(&[
                "impacket-auth-context",
                "impacket-auth3-spaces",
                "impacket-request-padding"
            ]),
            None
        );
        assert_eq!(told(&["stub-464", "four-properties"]), None);
    }

    #[test]
    fn a_special_case_is_named_where_its_own_facts_agree_and_the_family_fits() {
        let base = ["impacket-fragments", "impacket-auth-context"];
        let with = |own: &[&'static str]| told(&[&base, own].concat());
        let family = named("impacket family", Confidence::Medium);
        assert_eq!(with(&["dcomexec-mmc-names"]), family);
        assert_eq!(
            with(&["dcomexec-mmc-names", "dcomexec-mmc-call"]),
            named("impacket dcomexec", Confidence::High)
        );
        assert_eq!(
            with(&["netexec-names", "netexec-call"]),
            named("NetExec mmcexec", Confidence::Medium)
        );
        // Both at once is neither.
        assert_eq!(
            with(&[
                "netexec-names",
                "netexec-call",
                "dcomexec-mmc-names",
                "dcomexec-mmc-call"
            ]),
            family
        );
        assert_eq!(told(&["dcomexec-mmc-names", "dcomexec-mmc-call"]), None);
    }

    #[test]
    fn tools_that_look_the_same_are_called_by_their_family() {
        let both = ["class-object-first", "clr-managed-object"];
        assert_eq!(told(&both), named(".NET and PowerShell", Confidence::Low));
        let with = |own: &[&'static str]| told(&[&both, own].concat());
        assert_eq!(
            with(&["numbers-from-type-information"]),
            named("PowerShell activator", Confidence::High)
        );
        assert_eq!(
            with(&["numbers-from-type-information", "empire-launcher"]),
            named("Empire Invoke-DCOM", Confidence::High)
        );
        let dot_net = "SharpCOM/Covenant/Cobalt Strike (.NET)";
        assert_eq!(with(&["numbers-from-names"]), named(dot_net, Confidence::High));
        for (own, name) in [
            ("sharpcom-directory", "SharpCOM or SharpSploit"),
            ("sharp-window-number", "SharpCOM or SharpMove"),
            ("excel4-bytes", "SharpExcel4-DCOM or SILENTTRINITY excel4dcom"),
        ] {
            assert_eq!(with(&["numbers-from-names", own]), named(name, Confidence::Medium));
        }
    }

    #[test]
    fn what_was_read_from_sources_alone_is_less_sure() {
        let go = [
            "go-fragments",
            "go-auth-context",
            "go-ntlm-version",
            "four-properties",
            "go-lcids",
        ];
        assert_eq!(told(&go), named("goexec", Confidence::Medium));
        assert_eq!(told(&go[..2]), None);
        let titanis = ["titanis-server-name", "windows-properties", "titanis-causality"];
        assert_eq!(told(&titanis), named("Titanis", Confidence::Medium));
        assert_eq!(told(&titanis[..2]), named("Titanis", Confidence::Low));
        assert_eq!(told(&[&titanis[..], &["ndr64-offered"]].concat()), None);
    }

    #[test]
    fn a_fact_is_seen_when_it_was_seen_often_enough() {
        let catalog = Catalog::built_in();
        let tools = catalog.tools();
        let mut seen = sightings(tools, &["clr-managed-object", "numbers-from-names"]);
        let call = "ExecuteExcel4Macro(CALL(\"Kernel32\",\"WriteProcessMemory\",\"JJJCJJ\",-1, 1, CHAR(72), 1, 0))";
        let name = |seen: &Sightings| tools.tell(seen).map(|told| told.name).unwrap_or_default();
        for frame in 0..15 {
            tools.see(Field::Call, Seen::Text(call), frame, &mut seen);
        }
        assert!(name(&seen).starts_with("SharpCOM/"));
        tools.see(Field::Call, Seen::Text(call), 15, &mut seen);
        assert_eq!(name(&seen), "SharpExcel4-DCOM or SILENTTRINITY excel4dcom");
    }

    #[test]
    fn the_output_file_of_the_scripts_is_recognised() {
        let catalog = Catalog::built_in();
        let tools = catalog.tools();
        let mut seen = Sightings::default();
        let command = r"cmd.exe /Q /c whoami 1> \\127.0.0.1\ADMIN$\__17953 2>&1";
        tools.see(Field::CommandLine, Seen::Text(command), 3, &mut seen);
        assert_eq!(seen, sightings_at(tools, "impacket-output-file", 3));
    }

    fn sightings_at(tools: &Tools, id: &str, frame: u64) -> Sightings {
        let mut all = sightings(tools, &[id]);
        all.0[0].frame = frame;
        all
    }

    #[test]
    fn a_users_tool_is_checked_with_its_line() {
        let fact = "[[fact]]\nid = 'x'\nwhat = 'w'\nfield = 'server_name'\nis = 'T'\nseen_in = 's'\n";
        let tool =
            |least, facts| format!("{fact}[[tool]]\nname = 'n'\nfamily = 'f'\nfacts = {facts}\nleast = {least}\n");
        for (text, line, cause) in [
            (fact.replace("'T'", "1"), 2, "compares a text"),
            (fact.replace("server_name", "colour"), 4, "colour"),
            (tool(1, "['x']"), 8, "one fact alone names no tool"),
            (tool(2, "['x', 'y']"), 8, "no fact `y`"),
            (tool(2, "['x']"), 8, "of 1 kinds"),
            (tool(1, "['x']") + "refines = 'no such'\n", 8, "no tool `no such`"),
            (
                tool(1, "['x']") + "refines = 'NetExec mmcexec'\n",
                8,
                "no tool `NetExec mmcexec`",
            ),
        ] {
            let mut catalog = Catalog::built_in();
            let error = catalog.extend_from_toml("ours.toml", &text).unwrap_err();
            assert_eq!(error.list[0].line, Some(line), "{text}{error}");
            assert!(error.list[0].cause.contains(cause), "{error}");
            assert_eq!(
                catalog.tools().iter().count(),
                Catalog::built_in().tools().iter().count()
            );
        }
        let mut catalog = Catalog::built_in();
        let ours = tool(1, "['x']") + "refines = 'impacket family'\nverified = true\n";
        catalog.extend_from_toml("ours.toml", &ours).unwrap();
        let tools = catalog.tools();
        let seen = sightings(tools, &["x", "impacket-fragments", "impacket-auth-context"]);
        assert_eq!(tools.tell(&seen).unwrap().name, "n");
    }

    #[test]
    fn every_built_in_fact_serves_a_tool() {
        let catalog = Catalog::built_in();
        for fact in catalog.tools().facts() {
            let mut tools = catalog.tools().iter();
            assert!(
                tools.any(|tool| tool.facts.contains(&fact.id) || tool.excludes.contains(&fact.id)),
                "{}",
                fact.id
            );
        }
    }

    proptest! {
        #[test]
        fn one_kind_alone_never_names_a_tool(chosen in proptest::collection::vec(any::<bool>(), 64), kind in 0_usize..64) {
            let catalog = Catalog::built_in();
            let tools = catalog.tools();
            let kind = tools.facts[kind % tools.facts.len()].field.kind();
            let ids: Vec<&str> = tools
                .facts
                .iter()
                .zip(chosen)
                .filter(|(fact, chosen)| *chosen && fact.field.kind() == kind)
                .map(|(fact, _)| fact.id.as_str())
                .collect();
            prop_assert_eq!(tools.tell(&sightings(tools, &ids)), None);
        }

        #[test]
        fn whatever_is_named_rests_on_two_facts_that_were_seen(chosen in proptest::collection::vec(any::<bool>(), 64)) {
            let catalog = Catalog::built_in();
            let tools = catalog.tools();
            let seen: Vec<&Fact> = tools.facts.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(fact, _)| fact).collect();
            let ids: Vec<&str> = seen.iter().map(|fact| fact.id.as_str()).collect();
            if let Some(told) = tools.tell(&sightings(tools, &ids)) {
                let among = |why: &String| seen.iter().any(|fact| why.starts_with(&fact.what));
                prop_assert!(told.because.len() >= 2 && told.because.iter().all(among));
            }
        }
    }
}
