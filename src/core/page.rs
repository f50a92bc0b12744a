//! How a program's tracking page looks and what it says: everything that the program may change about it. Pure; what is left
//! out has a sensible default, so an empty design is a whole page.
//!
//! Texts, colours and variables end up in HTML and CSS, so what could leave its place there is refused here; templates escape
//! it all the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    channel::Channel,
    code::Code,
    limits::{
        ORIGINS_MAX, PAGE_BLOCK_TEXT_MAX_CHARS, PAGE_BLOCKS_MAX, PAGE_FILE_NAME_MAX_BYTES, PAGE_PROMOTIONS_MAX,
        PAGE_TEXT_MAX_CHARS, PAGE_VARIABLE_MAX_BYTES, PAGE_VARIABLES_MAX,
    },
    program::words,
};
pub use texts::{PLACEHOLDERS, PROMOTION_PLACEHOLDERS, TEXTS, fill};

mod texts;

/// What the page is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Design {
    /// Whether somebody who is no partner yet may become one here.
    pub join: Join,
    /// Whether a code is mailed before anything but numbers is shown. Joining always needs one.
    #[schema(default = true)]
    pub login_code: bool,
    /// The link that people share; null: the first one that the partner may use in this program.
    #[schema(value_type = Option<String>, example = "haircare")]
    pub link: Option<Code>,
    /// The page's language; null: the visitor's.
    pub language: Option<Language>,
    /// Where it can be shared, in this order.
    #[schema(value_type = Vec<String>, example = json!(["whatsapp", "facebook", "x", "linkedin", "email"]))]
    pub channels: Vec<String>,
    pub icons: Icons,
    /// A file of the page: the logo on top of it.
    pub logo: Option<String>,
    /// What stands for the logo where it is not seen.
    pub logo_text: String,
    /// A file of the page: the picture behind everything.
    pub background: Option<String>,
    pub colours: Colours,
    /// The page's own CSS variables: `radius`, `font`, `width`, `space`, `shadow`.
    #[schema(example = json!({"radius": "12px", "font": "Georgia, serif"}))]
    pub variables: BTreeMap<String, String>,
    /// Words in the place of the page's own, by language and by their name. `{program}` may stand in all of them,
    /// `{referrals}` and `{converted_referrals}` also in `referrals_label` and `converted_label`, and these, `{first_name}` and
    /// `{partner}` in `greeting`, `clicks_title`, `rewards_title`, `share_title` and `share_intro`.
    #[schema(value_type = Object, example = json!({"en": {"button": "Track Your Referrals"}}))]
    pub texts: BTreeMap<Language, BTreeMap<String, String>>,
    /// More, before and after what each step shows. What people read of it may hold `{program}`, and at the step `stats` the
    /// placeholders of `texts`: a block whose value is not known (of numbers without a code, and where somebody joins) is left out.
    pub blocks: Blocks,
    /// What partners may promote the program with, in the partner center.
    pub promotions: Vec<Promotion>,
    /// Sites that may show the page in a frame: exact origins.
    #[schema(example = json!(["https://shop.example"]))]
    pub embed: Vec<String>,
}

impl Default for Design {
    fn default() -> Design {
        let channels = [Channel::Whatsapp, Channel::Facebook, Channel::X, Channel::Linkedin, Channel::Email];
        Design {
            join: Join::default(),
            login_code: true,
            link: None,
            language: None,
            channels: channels.iter().map(|channel| channel.name().to_owned()).collect(),
            icons: Icons::default(),
            logo: None,
            logo_text: String::new(),
            background: None,
            colours: Colours::default(),
            variables: BTreeMap::new(),
            texts: BTreeMap::new(),
            blocks: Blocks::default(),
            promotions: Vec::new(),
            embed: Vec::new(),
        }
    }
}

/// Who may become a partner on the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// Nobody: partners are made elsewhere.
    #[default]
    Closed,
    /// Everybody, with a link that works at once.
    Open,
    /// Everybody, but somebody looks at them first: until then nobody is credited.
    Review,
}

/// The share buttons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Icons {
    /// In the channels' colours.
    #[default]
    Regular,
    White,
    Black,
}

words!(Icons { Regular = "regular", White = "white", Black = "black" });

/// A language that the pages speak.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    #[default]
    En,
    De,
}

words!(Language { En = "en", De = "de" });

/// Colours, each `#rrggbb`; null: the page's own, light or dark as the visitor likes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Colours {
    /// Buttons and what stands out.
    #[schema(example = "#0b6e4f")]
    pub accent: Option<String>,
    /// What is written on buttons.
    pub on_accent: Option<String>,
    pub text: Option<String>,
    /// Behind the text.
    pub surface: Option<String>,
    /// Behind everything.
    pub background: Option<String>,
}

impl Colours {
    /// Each with its name.
    pub fn named(&self) -> [(&'static str, Option<&str>); 5] {
        [
            ("accent", self.accent.as_deref()),
            ("on_accent", self.on_accent.as_deref()),
            ("text", self.text.as_deref()),
            ("surface", self.surface.as_deref()),
            ("background", self.background.as_deref()),
        ]
    }
}

/// More, by step: where the address is asked for, where the code is asked for, where the numbers stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Blocks {
    pub email: Around,
    pub code: Around,
    pub stats: Around,
}

/// Before and after a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Around {
    pub before: Vec<Block>,
    pub after: Vec<Block>,
}

/// One thing more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "kind")]
pub enum Block {
    /// Paragraphs: an empty line is between two.
    Text { text: String },
    /// A file of the page.
    Picture { file: String, alt: String },
    /// A file of the page.
    Video { file: String, title: String },
    /// A way to somewhere else.
    Button { text: String, address: String },
}

impl Block {
    /// What people read of it, by the field's name. It may hold placeholders.
    pub fn text(&self) -> (&'static str, &str) {
        match self {
            Block::Text { text } | Block::Button { text, .. } => ("text", text),
            Block::Picture { alt, .. } => ("alt", alt),
            Block::Video { title, .. } => ("title", title),
        }
    }

    /// The same with another text.
    #[must_use]
    pub fn with_text(&self, new: String) -> Block {
        let mut block = self.clone();
        match &mut block {
            Block::Text { text } | Block::Button { text, .. } => *text = new,
            Block::Picture { alt, .. } => *alt = new,
            Block::Video { title, .. } => *title = new,
        }
        block
    }
}

/// Something to promote a program with. Texts may hold `{link}` (the partner's own), `{first_name}`, `{partner}` and `{program}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "kind")]
pub enum Promotion {
    /// A picture (a file of the page) that leads to the link.
    Banner { file: String, alt: String },
    /// A mail to send to friends or readers.
    Mail { subject: String, text: String },
}

/// A mistake: the place in the design, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesignError {
    pub field: String,
    pub problem: String,
}

/// CSS variables that a design may set.
pub const VARIABLES: &[&str] = &["radius", "font", "width", "space", "shadow"];
/// Collects mistakes.
struct Mistakes(Vec<DesignError>);

impl Mistakes {
    fn add(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        self.0.push(DesignError { field: field.into(), problem: problem.into() });
    }

    /// A text of at most so many characters that holds no control characters but line breaks.
    fn text(&mut self, field: String, text: &str, most: usize) {
        let chars = text.chars().count();
        if chars > most {
            self.add(field, format!("has {chars} characters: at most {most} are allowed"));
        } else if let Some(control) = text.chars().find(|c| c.is_control() && *c != '\n') {
            self.add(field, format!("holds the control character {control:?}: remove it"));
        }
    }

    fn file(&mut self, field: String, name: &str) {
        if !is_file_name(name) {
            self.add(
                field,
                format!("`{name}` is no file's name: use letters, digits, `-`, `_` and one ending, like logo.png"),
            );
        }
    }
}

/// A name under which a page's file is put: `logo.png`.
pub fn is_file_name(name: &str) -> bool {
    name.len() <= PAGE_FILE_NAME_MAX_BYTES
        && name.split_once('.').is_some_and(|(stem, ending)| {
            let word = |text: &str| {
                !text.is_empty()
                    && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
            };
            word(stem) && word(ending)
        })
}

/// `#rrggbb`.
fn is_colour(text: &str) -> bool {
    text.strip_prefix('#').is_some_and(|hex| hex.len() == 6 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A value that cannot leave its declaration, nor fetch anything.
fn is_css_value(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || " ,.-#%()'\"".contains(c);
    let quotes = |quote: char| text.matches(quote).count().is_multiple_of(2);
    !text.is_empty()
        && text.len() <= PAGE_VARIABLE_MAX_BYTES
        && text.chars().all(plain)
        && quotes('"')
        && quotes('\'')
        && text.matches('(').count() == text.matches(')').count()
        && !text.to_ascii_lowercase().contains("url")
}

impl Design {
    /// All mistakes of a design. `texts` are the names of the page's texts.
    pub fn check(&self, texts: &[&str]) -> Vec<DesignError> {
        let mut mistakes = Mistakes(Vec::new());
        for (at, name) in self.channels.iter().enumerate() {
            if Channel::from_name(name.as_bytes()).is_none_or(|channel| channel.name() != name) {
                let known: Vec<&str> = Channel::all().map(Channel::name).collect();
                mistakes.add(format!("channels[{at}]"), format!("`{name}` is no channel: use {}", known.join(", ")));
            } else if self.channels[..at].contains(name) {
                mistakes.add(format!("channels[{at}]"), format!("`{name}` stands there twice"));
            }
        }
        for (field, file) in [("logo", &self.logo), ("background", &self.background)] {
            if let Some(file) = file {
                mistakes.file(field.to_owned(), file);
            }
        }
        mistakes.text("logo_text".to_owned(), &self.logo_text, PAGE_TEXT_MAX_CHARS);
        for (name, colour) in self.colours.named() {
            if let Some(colour) = colour.filter(|colour| !is_colour(colour)) {
                mistakes.add(format!("colours.{name}"), format!("`{colour}` is no colour: write it like #0b6e4f"));
            }
        }
        self.check_variables(&mut mistakes);
        self.check_texts(texts, &mut mistakes);
        for (step, around, known) in [
            ("email", &self.blocks.email, texts::OF_NOBODY),
            ("code", &self.blocks.code, texts::OF_NOBODY),
            ("stats", &self.blocks.stats, PLACEHOLDERS),
        ] {
            for (side, blocks) in [("before", &around.before), ("after", &around.after)] {
                check_blocks(&format!("blocks.{step}.{side}"), blocks, known, &mut mistakes);
            }
        }
        self.check_promotions(&mut mistakes);
        if self.embed.len() > ORIGINS_MAX {
            mistakes.add("embed", format!("has {} origins: at most {ORIGINS_MAX} are allowed", self.embed.len()));
        }
        for (at, origin) in self.embed.iter().enumerate() {
            if super::net::origin(origin).is_err() {
                let problem = format!("`{origin}` is no origin: give scheme and host alone, like https://shop.example");
                mistakes.add(format!("embed[{at}]"), problem);
            }
        }
        mistakes.0
    }

    fn check_variables(&self, mistakes: &mut Mistakes) {
        if self.variables.len() > PAGE_VARIABLES_MAX {
            mistakes.add("variables", format!("at most {PAGE_VARIABLES_MAX} are allowed"));
        }
        for (name, value) in &self.variables {
            let field = format!("variables.{name}");
            if !VARIABLES.contains(&name.as_str()) {
                mistakes.add(field, format!("there is no such variable: known are {}", VARIABLES.join(", ")));
            } else if !is_css_value(value) {
                let problem = format!(
                    "`{value}` cannot stand there: give a plain CSS value of at most {PAGE_VARIABLE_MAX_BYTES} bytes \
                     without url, like 12px or Georgia, serif"
                );
                mistakes.add(field, problem);
            }
        }
    }

    fn check_promotions(&self, mistakes: &mut Mistakes) {
        if self.promotions.len() > PAGE_PROMOTIONS_MAX {
            let count = self.promotions.len();
            mistakes.add("promotions", format!("has {count} entries: at most {PAGE_PROMOTIONS_MAX} are allowed"));
        }
        for (at, promotion) in self.promotions.iter().enumerate() {
            let field = |name: &str| format!("promotions[{at}].{name}");
            match promotion {
                Promotion::Banner { file, alt } => {
                    mistakes.file(field("file"), file);
                    mistakes.text(field("alt"), alt, PAGE_TEXT_MAX_CHARS);
                }
                Promotion::Mail { subject, text } => {
                    mistakes.text(field("subject"), subject, PAGE_TEXT_MAX_CHARS);
                    mistakes.text(field("text"), text, PAGE_BLOCK_TEXT_MAX_CHARS);
                    for (name, text) in [("subject", subject), ("text", text)] {
                        mistakes.placeholders(field(name), text, PROMOTION_PLACEHOLDERS);
                    }
                }
            }
        }
    }

    fn check_texts(&self, known: &[&str], mistakes: &mut Mistakes) {
        for (language, texts) in &self.texts {
            for (name, text) in texts {
                let field = format!("texts.{}.{name}", language.word());
                if !known.contains(&name.as_str()) {
                    mistakes.add(field, format!("there is no such text: known are {}", known.join(", ")));
                    continue;
                }
                mistakes.placeholders(field.clone(), text, texts::placeholders_of(name));
                mistakes.text(field, text, PAGE_TEXT_MAX_CHARS);
            }
        }
    }

    /// Files that the design shows.
    pub fn files(&self) -> Vec<&str> {
        let around = [&self.blocks.email, &self.blocks.code, &self.blocks.stats];
        let blocks = around.into_iter().flat_map(|around| around.before.iter().chain(&around.after));
        let shown = blocks.filter_map(|block| match block {
            Block::Picture { file, .. } | Block::Video { file, .. } => Some(file.as_str()),
            Block::Text { .. } | Block::Button { .. } => None,
        });
        let promoted = self.promotions.iter().filter_map(|promotion| match promotion {
            Promotion::Banner { file, .. } => Some(file.as_str()),
            Promotion::Mail { .. } => None,
        });
        let pictures = self.logo.as_deref().into_iter().chain(self.background.as_deref());
        pictures.chain(shown).chain(promoted).collect()
    }
}

fn check_blocks(place: &str, blocks: &[Block], known: &[&str], mistakes: &mut Mistakes) {
    if blocks.len() > PAGE_BLOCKS_MAX {
        mistakes.add(place, format!("has {} blocks: at most {PAGE_BLOCKS_MAX} are allowed", blocks.len()));
    }
    for (at, block) in blocks.iter().enumerate() {
        let field = |name: &str| format!("{place}[{at}].{name}");
        let (name, text) = block.text();
        mistakes.placeholders(field(name), text, known);
        match block {
            Block::Text { text } => mistakes.text(field("text"), text, PAGE_BLOCK_TEXT_MAX_CHARS),
            Block::Picture { file, alt } => {
                mistakes.file(field("file"), file);
                mistakes.text(field("alt"), alt, PAGE_TEXT_MAX_CHARS);
            }
            Block::Video { file, title } => {
                mistakes.file(field("file"), file);
                mistakes.text(field("title"), title, PAGE_TEXT_MAX_CHARS);
                if title.trim().is_empty() {
                    mistakes.add(field("title"), "is missing: say what the video shows, for those who do not see it");
                }
            }
            Block::Button { text, address } => {
                mistakes.text(field("text"), text, PAGE_TEXT_MAX_CHARS);
                if text.trim().is_empty() {
                    mistakes.add(field("text"), "is missing: say where the button leads");
                }
                if !is_web_address(address) {
                    mistakes.add(
                        field("address"),
                        "is no address of a page: give one that begins with https:// or http://",
                    );
                }
            }
        }
    }
}

/// http or https, with a host, and nothing that a browser would read otherwise.
fn is_web_address(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\')
        && url::Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
        })
}

#[cfg(test)]
#[path = "page_test.rs"]
mod tests;
