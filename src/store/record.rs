//! Which records every store takes: what one sets aside, all do, so that their reports agree.

use crate::core::{
    event::EventRef,
    limits::{EVENT_COUNT_MAX, EVENT_TIME_MAX_MS},
};

/// The event in these bytes, or why it cannot be stored.
pub fn decode(bytes: &[u8]) -> Result<EventRef<'_>, String> {
    let event = EventRef::decode(bytes).map_err(|error| format!("not an event: {error}"))?;
    let wrong = if event.id.len() != 16 {
        "id is not 16 bytes"
    } else if !(0..=EVENT_TIME_MAX_MS).contains(&event.time_ms) {
        "time_ms is not between the years 1970 and 2099"
    } else if event.count > EVENT_COUNT_MAX {
        "count is more than one row can stand for"
    } else if !matches!(event.visitor.len(), 0 | 16) {
        "visitor is not 16 bytes"
    } else if !matches!(event.click.len(), 0 | 16) {
        "click is not 16 bytes"
    } else if !matches!(event.address.len(), 0 | 3 | 6) {
        "address is not cut to 3 or 6 bytes"
    } else {
        return Ok(event);
    };
    Err(wrong.to_owned())
}
