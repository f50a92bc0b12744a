//! A touch: one attributed click. Cookies keep the first and the last one, tokens carry one.

use super::{code::CodeBuf, id::EventId, limits::CODE_MAX_BYTES, time::Millis};

/// One attributed click. Its time is in the click's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    pub click: EventId,
    pub link: CodeBuf,
    pub partner: CodeBuf,
    pub ad: Option<CodeBuf>,
}

impl Touch {
    pub fn time(&self) -> Millis {
        self.click.time()
    }

    /// The click's id, then link, partner and ad, each behind a length byte.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.click.0);
        put_code(Some(&self.link), out);
        put_code(Some(&self.partner), out);
        put_code(self.ad.as_ref(), out);
    }

    pub(super) fn decode(input: &mut &[u8]) -> Option<Touch> {
        let click = EventId(take(input, 16)?.try_into().ok()?);
        Some(Touch { click, link: take_code(input)??, partner: take_code(input)??, ad: take_code(input)? })
    }
}

/// A code behind its length byte; none is a zero.
pub(super) fn put_code(code: Option<&CodeBuf>, out: &mut Vec<u8>) {
    let text = code.map_or("", CodeBuf::as_str);
    debug_assert!(text.len() <= CODE_MAX_BYTES);
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

/// `Some(None)` is "no code"; `None` is damage.
pub(super) fn take_code(input: &mut &[u8]) -> Option<Option<CodeBuf>> {
    let len = take(input, 1)?[0] as usize;
    if len == 0 { Some(None) } else { CodeBuf::new(take(input, len)?).map(Some) }
}

pub(super) fn take<'a>(input: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, rest) = input.split_at_checked(len)?;
    *input = rest;
    Some(head)
}
