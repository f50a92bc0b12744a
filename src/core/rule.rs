//! Rules of a link: the first one whose conditions all hold chooses the destination.

use serde::{Deserialize, Serialize};

use super::{
    event::Device,
    id::VisitorId,
    limits::{RULE_VALUES_MAX, RULES_MAX},
    template::{self, TemplateError},
    time::Millis,
};

/// One rule: conditions, ANDed, and where it leads. A condition that is not given always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// ISO 3166-1 alpha-2 codes; one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub country: Vec<String>,
    /// `desktop`, `mobile`, `tablet`, `tv` or `other`; one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device: Vec<String>,
    /// Primary language tags, for example `de`; one of them is the visitor's first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub language: Vec<String>,
    /// Query parameters that the request must carry, with exactly these values; an empty value asks for presence only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<QueryCondition>,
    /// Not before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<Millis>,
    /// Before, exclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Millis>,
    /// Where it leads (a template); or `split`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Where it leads, by weight, the same for one visitor each time; or `address`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub split: Vec<Arm>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryCondition {
    pub name: String,
    #[serde(default)]
    pub value: String,
}

/// One arm of a weighted split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// Share of the visitors, relative to the other arms' weights; 0 switches the arm off.
    pub weight: u32,
    /// A template.
    pub address: String,
}

/// What a rule may ask about a request.
#[expect(missing_debug_implementations, reason = "holds a closure")]
pub struct Facts<'a> {
    pub country: &'a str,
    pub device: Device,
    pub language: &'a str,
    pub now: Millis,
    /// The decoded value of a query parameter.
    pub query: &'a dyn Fn(&str) -> Option<std::borrow::Cow<'a, [u8]>>,
    /// What makes a split stick: the visitor, or the click where there is none.
    pub sticky: VisitorId,
}

/// Why a rule is refused: the field within `rules`, and what to do.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field}: {problem}")]
pub struct RuleError {
    /// For example `[0].split[1].address`.
    pub field: String,
    pub problem: String,
}

impl Rule {
    fn matches(&self, facts: &Facts<'_>) -> bool {
        let one_of =
            |values: &[String], value: &str| values.is_empty() || values.iter().any(|v| v.eq_ignore_ascii_case(value));
        one_of(&self.country, facts.country)
            && one_of(&self.device, facts.device.label())
            && (self.language.is_empty() || self.language.iter().any(|tag| speaks(tag, facts.language)))
            && self.from.is_none_or(|from| from <= facts.now)
            && self.until.is_none_or(|until| facts.now < until)
            && self.query.iter().all(|condition| {
                (facts.query)(&condition.name)
                    .is_some_and(|value| condition.value.is_empty() || *value == *condition.value.as_bytes())
            })
    }

    /// Where the rule leads this visitor; `salt` is the link's code, so that splits of two links are independent.
    fn address(&self, salt: &str, sticky: VisitorId) -> Option<&str> {
        if self.split.is_empty() {
            return Some(&self.address);
        }
        let total: u64 = self.split.iter().map(|arm| u64::from(arm.weight)).sum();
        let mut hasher = blake3::Hasher::new();
        hasher.update(salt.as_bytes());
        hasher.update(&sticky.0);
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        let mut draw = u64::from_le_bytes(bytes).checked_rem(total)?;
        for arm in &self.split {
            match draw.checked_sub(u64::from(arm.weight)) {
                Some(rest) => draw = rest,
                None => return Some(&arm.address),
            }
        }
        None
    }
}

/// `de` covers `de` and `de-at`.
fn speaks(wanted: &str, language: &str) -> bool {
    language.get(..wanted.len()).is_some_and(|head| head.eq_ignore_ascii_case(wanted))
        && matches!(language.as_bytes().get(wanted.len()), None | Some(b'-'))
}

/// The first rule that holds: its number, counted from 1, and the address it leads to.
pub fn choose<'r>(rules: &'r [Rule], salt: &str, facts: &Facts<'_>) -> Option<(u32, &'r str)> {
    rules
        .iter()
        .enumerate()
        .find(|(_, rule)| rule.matches(facts))
        .and_then(|(at, rule)| Some((at as u32 + 1, rule.address(salt, facts.sticky)?)))
}

/// Checks rules and brings their addresses and words into normal form.
pub fn check(rules: &mut [Rule]) -> Result<(), RuleError> {
    let error = |field: String, problem: String| Err(RuleError { field, problem });
    if rules.len() > RULES_MAX {
        return error(String::new(), format!("{} rules: at most {RULES_MAX} are allowed", rules.len()));
    }
    for (at, rule) in rules.iter_mut().enumerate() {
        let sizes = [rule.country.len(), rule.device.len(), rule.language.len(), rule.query.len(), rule.split.len()];
        if sizes.iter().any(|size| *size > RULE_VALUES_MAX) {
            return error(format!("[{at}]"), format!("a condition or split has more than {RULE_VALUES_MAX} values"));
        }
        for (n, country) in rule.country.iter_mut().enumerate() {
            if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_alphabetic()) {
                return error(
                    format!("[{at}].country[{n}]"),
                    format!("`{country}` is not a two-letter country code (ISO 3166-1), for example DE"),
                );
            }
            country.make_ascii_uppercase();
        }
        for (n, device) in rule.device.iter_mut().enumerate() {
            device.make_ascii_lowercase();
            if Device::from_label(device).is_none() {
                return error(
                    format!("[{at}].device[{n}]"),
                    format!("`{device}` is not a device: use desktop, mobile, tablet, tv or other"),
                );
            }
        }
        for (n, language) in rule.language.iter_mut().enumerate() {
            language.make_ascii_lowercase();
            if language.len() < 2 || !language.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                return error(
                    format!("[{at}].language[{n}]"),
                    format!("`{language}` is not a language tag, for example de or pt-br"),
                );
            }
        }
        if let Some(n) = rule.query.iter().position(|condition| condition.name.is_empty()) {
            return error(format!("[{at}].query[{n}].name"), "is empty: name the query parameter".to_owned());
        }
        if let (Some(from), Some(until)) = (rule.from, rule.until)
            && from >= until
        {
            return error(format!("[{at}].until"), format!("{until} is not after `from` {from}"));
        }
        let describe = |field: String, problem: TemplateError| RuleError { field, problem: problem.to_string() };
        match (rule.address.is_empty(), rule.split.is_empty()) {
            (true, true) => {
                return error(format!("[{at}].address"), "is missing: give `address` or `split`".to_owned());
            }
            (false, false) => {
                return error(format!("[{at}].split"), "stands beside `address`: give one of the two".to_owned());
            }
            (false, true) => {
                rule.address = template::check(&rule.address).map_err(|e| describe(format!("[{at}].address"), e))?;
            }
            (true, false) => {
                for (n, arm) in rule.split.iter_mut().enumerate() {
                    arm.address =
                        template::check(&arm.address).map_err(|e| describe(format!("[{at}].split[{n}].address"), e))?;
                }
                if rule.split.iter().all(|arm| arm.weight == 0) {
                    return error(
                        format!("[{at}].split"),
                        "has no weight above 0: give at least one arm a weight".to_owned(),
                    );
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'a>(query: &'a dyn Fn(&str) -> Option<std::borrow::Cow<'a, [u8]>>) -> Facts<'a> {
        Facts {
            country: "DE",
            device: Device::Mobile,
            language: "de-at",
            now: Millis(1_000),
            query,
            sticky: VisitorId([1; 16]),
        }
    }

    fn to(address: &str) -> Rule {
        Rule { address: address.to_owned(), ..Rule::default() }
    }

    #[test]
    fn the_first_rule_whose_conditions_all_hold_wins() {
        let query = |name: &str| (name == "src").then_some(std::borrow::Cow::Borrowed(b"mail".as_slice()));
        let facts = facts(&query);
        let rules = [
            Rule { country: vec!["AT".into()], ..to("https://a/") },
            Rule { country: vec!["DE".into()], device: vec!["desktop".into()], ..to("https://b/") },
            Rule { from: Some(Millis(1_001)), ..to("https://c/") },
            Rule { until: Some(Millis(1_000)), ..to("https://d/") },
            Rule { query: vec![QueryCondition { name: "src".into(), value: "web".into() }], ..to("https://e/") },
            Rule { language: vec!["d".into()], ..to("https://f/") },
            Rule {
                country: vec!["AT".into(), "de".into()],
                device: vec!["mobile".into()],
                language: vec!["de".into()],
                query: vec![
                    QueryCondition { name: "src".into(), value: "mail".into() },
                    QueryCondition { name: "src".into(), value: String::new() },
                ],
                from: Some(Millis(1_000)),
                until: Some(Millis(1_001)),
                ..to("https://g/")
            },
            to("https://h/"),
        ];
        assert_eq!(choose(&rules, "x", &facts), Some((7, "https://g/")));
        assert_eq!(choose(&rules[..6], "x", &facts), None);
    }

    #[test]
    fn a_split_follows_its_weights_and_sticks_to_the_visitor() {
        let rule = Rule {
            split: vec![
                Arm { weight: 70, address: "https://a/".into() },
                Arm { weight: 0, address: "https://never/".into() },
                Arm { weight: 30, address: "https://b/".into() },
            ],
            ..Rule::default()
        };
        let visitor = |n: u32| VisitorId([n.to_le_bytes(); 4].concat().try_into().unwrap());
        let first = (0..10_000).filter(|n| rule.address("link", visitor(*n)) == Some("https://a/")).count();
        assert!((6_800..7_200).contains(&first), "{first} of 10,000 went to the arm of weight 70");
        for n in 0..100 {
            assert_eq!(rule.address("link", visitor(n)), rule.address("link", visitor(n)));
            assert_ne!(rule.address("link", visitor(n)), Some("https://never/"));
        }
        assert!((0..100).any(|n| rule.address("link", visitor(n)) != rule.address("other", visitor(n))));
    }

    #[test]
    fn bad_rules_name_the_field_and_the_mend() {
        let field = |rule: Rule| check(&mut [to("https://fine/"), rule]).unwrap_err().field;
        assert_eq!(field(Rule::default()), "[1].address");
        assert_eq!(field(Rule { country: vec!["germany".into()], ..to("https://a/") }), "[1].country[0]");
        assert_eq!(field(Rule { device: vec!["fridge".into()], ..to("https://a/") }), "[1].device[0]");
        assert_eq!(
            field(Rule { split: vec![Arm { weight: 1, address: "javascript:x".into() }], ..Rule::default() }),
            "[1].split[0].address"
        );
        assert_eq!(
            field(Rule { split: vec![Arm { weight: 0, address: "https://a/".into() }], ..Rule::default() }),
            "[1].split"
        );
        assert_eq!(field(Rule { from: Some(Millis(2)), until: Some(Millis(1)), ..to("https://a/") }), "[1].until");
    }
}
