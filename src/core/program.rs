//! The few words that programs, partners and links are described with, where more than one room needs them.

use serde::{Deserialize, Serialize};

/// Which touch is credited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Attribution {
    FirstTouch,
    #[default]
    LastTouch,
}

/// Whether a program or a partner takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    #[default]
    Active,
    /// Not looked at yet: nobody is credited.
    Pending,
    /// Stopped for now: nobody is credited.
    Paused,
    /// Refused for good: nobody is credited.
    Rejected,
}

macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        impl $name {
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            pub const fn word(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            pub fn from_word(word: &str) -> Option<$name> {
                match word { $($word => Some($name::$variant),)* _ => None }
            }
        }
    };
}

pub(crate) use words;

words!(Attribution { FirstTouch = "first_touch", LastTouch = "last_touch" });
words!(Status { Active = "active", Pending = "pending", Paused = "paused", Rejected = "rejected" });

/// Name of the query parameter that carries the click token when a link names none.
pub const CLICK_PARAMETER: &str = "fpc";
/// Days for which a cookie remembers a touch when a program names none.
pub const WINDOW_DAYS: u32 = 90;
