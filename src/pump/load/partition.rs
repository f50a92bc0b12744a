//! One partition of a loader: what fills, what is under way, and up to where the table may hold records already.

use std::{collections::VecDeque, time::Instant};

use super::{Options, work::Done};
use crate::{core::limits::LOAD_DOUBT_OFFSETS, store::Range};

/// What a note begins with: `load:END` says that a range up to END was begun, `load:END:DOUBT` also that the table may hold
/// more, up to DOUBT.
const INTENT: &str = "load:";

/// Whether what fills is to be loaded now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ripeness {
    Ripe,
    Waits,
}

#[derive(Debug)]
pub(super) struct Partition {
    number: u32,
    /// Below this offset the table may hold records already.
    doubt: u64,
    /// The range that somebody else began: it is loaded as the same range, so that it has the same token. It is no longer
    /// than any range that a loader makes.
    begun: std::ops::Range<u64>,
    /// Where the partition ended when it was given, with what waited for the end of a transaction then.
    goal: u64,
    /// What is below `goal` cannot all be told yet.
    open: bool,
    /// Everything below is loaded and committed.
    reached: u64,
    /// The offset behind what was told.
    next: u64,
    /// What fills. Its `start` is the offset that is committed when nothing is under way.
    filling: Range,
    filling_bytes: usize,
    /// When its first record came.
    since: Option<Instant>,
    /// Records behind the range that fills, which is complete: those of one poll at most, then the partition is paused.
    later: VecDeque<(u64, Vec<u8>)>,
    /// End of the range that is under way.
    busy: Option<u64>,
    /// Loaded, and not committed yet.
    done: Option<Done>,
    paused: bool,
    at_end: bool,
    gap: Option<std::ops::Range<u64>>,
}

impl Partition {
    /// Goes on where the table is, not where the group believes it to be. `held` is the offset behind the highest that the
    /// table ever held, `goal` the one behind the partition's last record. More than the longest range below `held`
    /// everything is finished.
    pub(super) fn given(number: u32, committed: u64, note: &str, held: u64, goal: u64) -> Partition {
        let (end, doubt) = read(note).unwrap_or((committed, committed));
        let far_back = held.saturating_sub(LOAD_DOUBT_OFFSETS);
        let next = if held < committed {
            // Less than was committed is there: the table was restored from a backup, or is a new one. (Or all that came last
            // was set aside: then it is set aside again, which changes nothing.)
            far_back
        } else if end > committed {
            committed
        } else {
            committed.max(far_back)
        };
        let (begun, doubt) = (committed..end, doubt.max(end).max(held).max(committed));
        Partition {
            number,
            doubt,
            begun,
            goal,
            open: true,
            reached: next,
            next,
            filling: Range { partition: number, start: next, end: next, records: Vec::new() },
            filling_bytes: 0,
            since: None,
            later: VecDeque::new(),
            busy: None,
            done: None,
            paused: false,
            at_end: false,
            gap: None,
        }
    }

    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// The offset to go on with.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    pub(super) const fn is_doubtful(&self) -> bool {
        self.filling.start < self.doubt
    }

    pub(super) const fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Offsets that are not loaded and committed, where the partition ends at `end`. Behind the last record there may be ends of transactions,
    /// which nobody ever loads.
    pub(super) fn lag(&self, end: u64) -> u64 {
        let idle = self.busy.is_none() && self.done.is_none() && self.filling.records.is_empty();
        if idle && self.at_end { 0 } else { end.saturating_sub(self.reached) }
    }

    pub(super) fn is_drained(&self) -> bool {
        let idle = self.busy.is_none() && self.done.is_none();
        self.reached >= self.goal || (!self.open && self.at_end && self.filling.records.is_empty() && idle)
    }

    /// Told where the partition ends for readers now. Gives whether everything below the goal can be told from now on: then
    /// it is sought anew, so that its end is told behind it.
    pub(super) fn can_be_read_to(&mut self, end: u64) -> bool {
        let closed = self.open && end >= self.goal;
        if closed {
            (self.open, self.at_end) = (false, false);
        }
        closed
    }

    /// Takes a record. Gives whether the partition has enough and must be paused; [`set_paused`](Self::set_paused) says
    /// that it is.
    pub(super) fn take(&mut self, offset: u64, body: &[u8], now: Instant, options: &Options) -> bool {
        // What comes again after a change of owners was told already.
        if offset < self.next {
            return false;
        }
        self.at_end = false;
        if offset - self.next > self.gap.as_ref().map_or(0, |gap| gap.end - gap.start) {
            self.gap = Some(self.next..offset);
        }
        self.next = offset + 1;
        if !self.later.is_empty() || !self.fits(offset, options) {
            self.later.push_back((offset, body.to_vec()));
            return !self.paused;
        }
        self.push(offset, body.to_vec(), now);
        false
    }

    /// Whether a record still belongs to the range that fills. What was begun is a range of its own, and a doubtful one ends
    /// where its doubt ends.
    fn fits(&self, offset: u64, options: &Options) -> bool {
        let crosses = |cut| self.filling.start < cut && offset >= cut && !self.filling.records.is_empty();
        let cut = [self.begun.start, self.begun.end, self.doubt].into_iter().any(crosses);
        !cut && (self.begun.contains(&self.filling.start) || !self.is_full(options))
    }

    fn push(&mut self, offset: u64, body: Vec<u8>, now: Instant) {
        self.since.get_or_insert(now);
        self.filling_bytes += body.len();
        self.filling.end = offset + 1;
        self.filling.records.push((offset, body));
    }

    fn is_full(&self, options: &Options) -> bool {
        self.filling.records.len() >= options.batch_max_events || self.filling_bytes >= options.batch_max_bytes
    }

    /// Everything that was there has been told: nothing more of what is doubtful comes.
    pub(super) fn reached_end(&mut self) {
        self.at_end = true;
    }

    pub(super) fn ripe(&self, now: Instant, options: &Options) -> Ripeness {
        if self.busy.is_some() || self.done.is_some() || self.filling.records.is_empty() {
            return Ripeness::Waits;
        }
        if self.begun.contains(&self.filling.start) {
            let complete = self.next >= self.begun.end || self.at_end;
            return if complete { Ripeness::Ripe } else { Ripeness::Waits };
        }
        let old = self.since.is_some_and(|since| now.duration_since(since) >= options.batch_max_age);
        let complete = !self.later.is_empty() || self.is_full(options) || (self.at_end && options.once);
        if old || complete { Ripeness::Ripe } else { Ripeness::Waits }
    }

    /// What to commit before the range is loaded. What is doubtful beyond it stays so for whoever comes next.
    pub(super) fn intent(&self) -> (u64, String) {
        (self.filling.start, self.note(self.filling.end))
    }

    /// The range is under way; the next one begins to fill.
    pub(super) fn start(&mut self, options: &Options) -> (Range, bool) {
        let doubtful = self.is_doubtful();
        let end = self.filling.end;
        let empty = Range { partition: self.number, start: end, end, records: Vec::new() };
        let range = std::mem::replace(&mut self.filling, empty);
        (self.busy, self.filling_bytes, self.since) = (Some(end), 0, None);
        while let Some((offset, _)) = self.later.front()
            && self.fits(*offset, options)
            && let Some((offset, body)) = self.later.pop_front()
        {
            self.push(offset, body, Instant::now());
        }
        (range, doubtful)
    }

    /// Whether a pause may end: nothing waits behind the range that fills.
    pub(super) fn may_resume(&self) -> bool {
        self.paused && self.later.is_empty()
    }

    /// The source tells no more records, or does again. A seek ends a pause as well; where it is still needed, the next
    /// record brings it back.
    pub(super) fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Records below `low` are deleted.
    pub(super) fn begins_at(&mut self, low: u64) {
        self.next = self.next.max(low);
    }

    /// The longest stretch of offsets since the last look for which no record came: ends of transactions, as a rule.
    pub(super) fn take_gap(&mut self) -> Option<std::ops::Range<u64>> {
        self.gap.take()
    }

    pub(super) fn loaded(&mut self, done: &Done) {
        if self.busy == Some(done.end) {
            (self.busy, self.done) = (None, Some(done.clone()));
        }
    }

    /// The end of a range that is loaded and not committed, and the note beside it: what is doubtful still.
    pub(super) fn to_commit(&self) -> Option<(Done, String)> {
        let done = self.done.clone()?;
        let note = if done.end < self.doubt { self.note(done.end) } else { String::new() };
        Some((done, note))
    }

    pub(super) fn committed(&mut self) {
        if let Some(done) = self.done.take() {
            self.reached = done.end;
        }
    }

    /// That a range up to `end` was begun, and what is doubtful behind it.
    fn note(&self, end: u64) -> String {
        if end < self.doubt { format!("{INTENT}{end}:{}", self.doubt) } else { format!("{INTENT}{end}") }
    }
}

/// The two offsets of a note; `None` where it is not ours, or there is none.
fn read(note: &str) -> Option<(u64, u64)> {
    let offsets = note.strip_prefix(INTENT)?;
    let (end, doubt) = offsets.split_once(':').unwrap_or((offsets, offsets));
    Some((end.parse().ok()?, doubt.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn from(committed: u64, note: &str, held: u64) -> (u64, u64) {
        let partition = Partition::given(0, committed, note, held, 0);
        (partition.next(), partition.doubt)
    }

    #[test]
    fn what_was_deleted_before_it_was_told_leaves_a_gap() {
        let options = Options::new(100, Duration::ZERO, false, 1);
        let mut partition = Partition::given(0, 10, "", 10, 200);
        partition.begins_at(5);
        for offset in [10, 11, 13, 50, 51, 53] {
            partition.take(offset, b"", Instant::now(), &options);
        }
        assert_eq!(partition.take_gap(), Some(14..50));
        assert_eq!(partition.take_gap(), None);
        partition.begins_at(90);
        partition.take(80, b"", Instant::now(), &options);
        assert_eq!(partition.next(), 90, "what is deleted is not waited for");
    }

    #[test]
    fn what_is_doubtful_is_told_by_the_note_and_by_the_table() {
        const FAR: u64 = 10 * LOAD_DOUBT_OFFSETS;
        assert_eq!(from(5, "", 5), (5, 5), "all is well");
        assert_eq!(from(5, "", 0), (0, 5), "an empty table");
        assert_eq!(from(9, "load:12", 5), (0, 12), "a restored table");
        assert_eq!(from(5, "load:9", 5), (5, 9), "an intent");
        assert_eq!(from(5, "load:9", 7), (5, 9), "half of an intent is there");
        assert_eq!(from(5, "load:5:9", 7), (5, 9), "nothing begun, and doubt left over");
        assert_eq!(from(0, "", 7), (0, 7), "a group that was reset");
        assert_eq!(from(0, "", FAR), (FAR - LOAD_DOUBT_OFFSETS, FAR), "and what is surely finished");
        assert_eq!(from(FAR + 9, "", FAR), (FAR - LOAD_DOUBT_OFFSETS, FAR + 9), "a restored table far on");
        assert_eq!(from(5, "load:9", FAR), (5, FAR), "an intent is looked at in any case");
        assert_eq!(from(5, "somebody else's", 5), (5, 5), "a note that is not ours");
    }

    /// However much is doubtful: what somebody began comes as one range, all else in ranges of the usual size.
    #[test]
    fn doubt_does_not_make_ranges_larger() {
        let options = Options { batch_max_age: Duration::ZERO, ..Options::new(3, Duration::ZERO, false, 1) };
        let mut partition = Partition::given(0, 10, "load:15:100", 0, 200);
        let (mut next, mut ranges) = (partition.next(), Vec::new());
        while next < 30 {
            while next < 40 && !partition.take(next, b"", Instant::now(), &options) {
                next += 1;
            }
            partition.set_paused(true);
            next += 1;
            while partition.ripe(Instant::now(), &options) == Ripeness::Ripe {
                let (range, doubtful) = partition.start(&options);
                if partition.may_resume() {
                    partition.set_paused(false);
                }
                assert!(doubtful);
                ranges.push((range.start, range.end));
                let (partition_number, stored) = (0, crate::store::Stored::default());
                let done = Done { partition: partition_number, end: range.end, stored, started: Instant::now() };
                partition.loaded(&done);
                partition.committed();
            }
        }
        assert!(ranges.contains(&(10, 15)), "{ranges:?}");
        assert!(ranges.iter().all(|(start, end)| (*start, *end) == (10, 15) || end - start <= 3), "{ranges:?}");
        assert!(ranges.windows(2).all(|pair| pair[0].1 == pair[1].0), "{ranges:?}");
    }
}
