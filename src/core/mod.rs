//! What everything else is made of: ids, codes, limits, events, keys, tokens, cookies, templates, rules.
//!
//! Pure: nothing here reads a clock, draws a random number or touches a file. Time, ids and keys come in as arguments.

pub mod channel;
pub mod code;
pub mod cookie;
pub mod credit;
pub mod duration;
pub mod event;
pub mod fact;
pub mod id;
pub mod key;
pub mod limiter;
pub mod limits;
pub mod mail;
pub mod media;
pub mod money;
pub mod net;
pub mod notify;
pub mod page;
pub mod percent;
pub mod preview;
pub mod program;
pub mod review;
pub mod rule;
pub mod script;
pub mod stretch;
pub mod template;
pub mod terms;
pub mod time;
pub mod token;
pub mod touch;
