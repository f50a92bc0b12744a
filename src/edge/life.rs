//! The life of a connection: which phase it is in and since when, and so whether its time is over (see [`super::worker`]).

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use super::{
    admit::Refusal,
    counters::CloseReason,
    head::Progress,
    worker::{Sweeps, Worker, keep_waker},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing, or not enough to tell the protocol, has arrived.
    Preface,
    Handshake,
    /// A request's head has begun and is not whole.
    Head,
    /// A request is being answered; its body has a deadline of its own ([`BodyWait`]).
    Service,
    Idle,
    /// Ours to end, with its own time-out.
    Closing,
}

/// One connection, from accept to close.
pub(super) struct Life {
    pub(super) worker: Rc<Worker>,
    index: Cell<usize>,
    phase: Cell<Phase>,
    since: Cell<Sweeps>,
    /// Since when what we wrote has not been taken whole.
    blocked: Cell<Option<Sweeps>>,
    /// HTTP/2: since when a frame or header block has been unfinished.
    unfinished: Cell<Option<Sweeps>>,
    /// HTTP/2: streams with a request or an answer under way, and those among them whose answer waits for the client's window.
    streams: Cell<u32>,
    unsent: Cell<u32>,
    unsent_since: Cell<Sweeps>,
    /// HTTP/1: the request in service has a body, so what arrives is no head; and the same of the last request, which may have been
    /// answered before its body came.
    body: Cell<bool>,
    had_body: Cell<bool>,
    pub(super) head: Cell<Progress>,
    /// HTTP/1: what was read last were whole heads, and all of it together is smaller than any bound.
    small: Cell<bool>,
    /// HTTP/1: the client was told that its connection ends with this answer, because of what it sent.
    close: Cell<bool>,
    /// HTTP/1: the answer that hyper cannot give, to be written when it has let go of the socket.
    pub(super) refusal: Cell<Option<Refusal>>,
    ending: Cell<Option<CloseReason>>,
    waker: RefCell<Option<Waker>>,
}

// === impl Life ===

impl Life {
    /// A connection that has just been accepted, at its place in the worker's list.
    pub(super) fn new(worker: &Rc<Worker>, index: usize) -> Rc<Life> {
        Rc::new(Life {
            worker: Rc::clone(worker),
            index: Cell::new(index),
            phase: Cell::new(Phase::Preface),
            since: Cell::new(worker.now()),
            blocked: Cell::new(None),
            unfinished: Cell::new(None),
            streams: Cell::new(0),
            unsent: Cell::new(0),
            unsent_since: Cell::new(0),
            body: Cell::new(false),
            had_body: Cell::new(false),
            head: Cell::default(),
            small: Cell::new(false),
            close: Cell::new(false),
            refusal: Cell::new(None),
            ending: Cell::new(None),
            waker: RefCell::new(None),
        })
    }

    pub(super) fn index(&self) -> usize {
        self.index.get()
    }

    pub(super) fn set_index(&self, index: usize) {
        self.index.set(index);
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.worker.now());
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Runs `poll` until it is ready or the connection has to end.
    pub(super) async fn until_ended<T>(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, CloseReason> {
        poll_fn(|cx| {
            if let Some(reason) = self.ending.get() {
                return Poll::Ready(Err(reason));
            }
            keep_waker(&self.waker, cx);
            poll(cx).map(Ok)
        })
        .await
    }

    /// Ends the connection at its next turn; the first reason counts.
    pub(super) fn end(&self, reason: CloseReason) {
        if self.ending.get().is_none() {
            self.worker.counters.count_closed(reason);
            self.ending.set(Some(reason));
            self.wake();
        }
    }

    pub(super) fn ending(&self) -> Option<CloseReason> {
        self.ending.get()
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Why this connection has to end now, if it has.
    pub(super) fn overdue(&self) -> Option<CloseReason> {
        let (worker, deadlines) = (&self.worker, &self.worker.deadlines);
        let long = |since: Option<Sweeps>, deadline| since.is_some_and(|since| worker.past(since, deadline));
        if long(self.blocked.get(), deadlines.write) {
            return Some(CloseReason::Write);
        }
        if long(self.unfinished.get(), deadlines.head) {
            return Some(CloseReason::Head);
        }
        if self.unsent.get() > 0 && worker.past(self.unsent_since.get(), deadlines.write) {
            return Some(CloseReason::Write);
        }
        let (deadline, reason) = match self.phase.get() {
            Phase::Preface => (deadlines.preface, CloseReason::Preface),
            Phase::Handshake => (deadlines.handshake, CloseReason::Handshake),
            Phase::Head => (deadlines.head, CloseReason::Head),
            Phase::Idle => (deadlines.idle, CloseReason::Idle),
            Phase::Service | Phase::Closing => return None,
        };
        if worker.past(self.since.get(), deadline) {
            return Some(reason);
        }
        let waits = matches!(self.phase.get(), Phase::Preface | Phase::Idle);
        (waits && long(worker.draining(), deadlines.drain_idle)).then_some(CloseReason::Drain)
    }

    // --- what the socket sees ---

    pub(super) fn write_blocked(&self) {
        if self.blocked.get().is_none() {
            self.blocked.set(Some(self.worker.now()));
        }
    }

    /// Everything that we wrote has been taken.
    pub(super) fn write_flushed(&self) {
        self.blocked.set(None);
    }

    pub(super) fn is_write_blocked(&self) -> bool {
        self.blocked.get().is_some()
    }

    // --- HTTP/1 ---

    /// Whether what arrives now belongs to a head.
    pub(super) fn expects_head(&self) -> bool {
        !self.body.get()
    }

    pub(super) fn head_bytes_arrived(&self) {
        if matches!(self.phase.get(), Phase::Preface | Phase::Idle) {
            self.enter(Phase::Head);
        }
    }

    pub(super) fn request_begins(&self, has_body: bool) {
        self.phase.set(Phase::Service);
        self.had_body.set(has_body);
        if has_body {
            self.body.set(true);
            self.head.set(Progress::default());
        }
    }

    pub(super) fn set_head_is_small(&self, small: bool) {
        self.small.set(small);
    }

    pub(super) fn head_is_small(&self) -> bool {
        self.small.get()
    }

    pub(super) fn say_close(&self) {
        self.close.set(true);
    }

    pub(super) fn said_close(&self) -> bool {
        self.close.get()
    }

    /// Whether the client may still be sending what nobody will read.
    pub(super) fn may_be_sending(&self) -> bool {
        self.close.get() || self.had_body.get() || self.worker.is_draining()
    }

    pub(super) fn request_ends(&self) {
        self.body.set(false);
        self.enter(if self.head.get().is_begun() { Phase::Head } else { Phase::Idle });
    }

    // --- HTTP/2 ---

    /// After each read: whether it ended between two frames, with no header block open.
    pub(super) fn frames_whole(&self, whole: bool) {
        if whole {
            self.unfinished.set(None);
            if self.phase.get() == Phase::Preface {
                self.enter(Phase::Idle);
            }
        } else if self.unfinished.get().is_none() {
            self.unfinished.set(Some(self.worker.now()));
        }
    }

    pub(super) fn stream_begins(&self) {
        self.streams.set(self.streams.get() + 1);
        self.phase.set(Phase::Service);
    }

    pub(super) fn stream_ends(&self) {
        self.streams.set(self.streams.get() - 1);
        if self.streams.get() == 0 && self.phase.get() == Phase::Service {
            self.enter(Phase::Idle);
        }
    }

    pub(super) fn answer_begins(&self) {
        if self.unsent.get() == 0 {
            self.unsent_since.set(self.worker.now());
        }
        self.unsent.set(self.unsent.get() + 1);
    }

    pub(super) fn answer_ends(&self) {
        self.unsent.set(self.unsent.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::edge::worker::Deadlines;

    fn worker(max_connections: usize) -> Rc<Worker> {
        let deadlines = Deadlines {
            preface: Duration::from_secs(1),
            head: Duration::from_secs(2),
            idle: Duration::from_secs(3),
            write: Duration::from_secs(1),
            drain_idle: Duration::from_millis(500),
            sweep: Duration::from_millis(500),
            ..Deadlines::default()
        };
        Worker::new(Arc::default(), deadlines, max_connections)
    }

    /// How many sweeps it takes until the connection is ended, and why.
    fn sweeps_until_end(worker: &Worker, life: &Life) -> (u32, CloseReason) {
        for sweeps in 1..100 {
            worker.sweep();
            if let Some(reason) = life.ending.get() {
                return (sweeps, reason);
            }
        }
        panic!("it was never ended");
    }

    #[test]
    fn each_phase_has_its_deadline_and_none_is_ended_early() {
        let worker = worker(9);
        let place = worker.admit().unwrap();
        // 1 s is two sweeps; the phase may have begun at the very end of a sweep, so the third one is the first that is sure.
        assert_eq!(sweeps_until_end(&worker, place.life()), (3, CloseReason::Preface));

        let place = worker.admit().unwrap();
        place.life().head_bytes_arrived();
        worker.sweep();
        place.life().head_bytes_arrived();
        assert_eq!(sweeps_until_end(&worker, place.life()), (4, CloseReason::Head), "further bytes extend nothing");

        let place = worker.admit().unwrap();
        place.life().request_begins(false);
        (0..50).for_each(|_| worker.sweep());
        place.life().request_ends();
        assert_eq!(sweeps_until_end(&worker, place.life()), (7, CloseReason::Idle), "the service has no deadline here");

        let place = worker.admit().unwrap();
        place.life().request_begins(false);
        place.life().write_blocked();
        place.life().write_flushed();
        place.life().write_blocked();
        worker.sweep();
        place.life().write_blocked();
        assert_eq!(sweeps_until_end(&worker, place.life()), (2, CloseReason::Write));
        assert_eq!(worker.counters.closed(CloseReason::Write), 1);
    }

    #[test]
    fn draining_ends_only_those_without_a_request() {
        let worker = worker(9);
        let (idle, busy) = (worker.admit().unwrap(), worker.admit().unwrap());
        idle.life().request_ends();
        busy.life().request_begins(false);
        worker.begin_drain();
        assert_eq!(sweeps_until_end(&worker, idle.life()), (2, CloseReason::Drain));
        assert_eq!(busy.life().ending.get(), None);
        worker.force_drain();
        assert_eq!(busy.life().ending.get(), Some(CloseReason::Drain));
        assert_eq!(worker.counters.closed(CloseReason::Drain), 2);
    }

    #[test]
    fn places_are_given_back_in_any_order() {
        let worker = worker(3);
        let mut places: Vec<_> = (0..3).map(|_| worker.admit().unwrap()).collect();
        assert!(worker.admit().is_none());
        assert_eq!(worker.counters.closed(CloseReason::TooMany), 1);
        places.remove(0);
        places.remove(1);
        assert_eq!(worker.counters.open(), 1);
        assert_eq!(places[0].life().index(), 0);
        places.clear();
        assert_eq!((worker.counters.open(), worker.counters.accepted()), (0, 3));
    }

    #[test]
    fn http2_streams_and_their_answers() {
        let worker = worker(9);
        let place = worker.admit().unwrap();
        let life = place.life();
        life.frames_whole(true);
        life.stream_begins();
        life.answer_begins();
        life.stream_begins();
        life.stream_ends();
        assert_eq!(
            sweeps_until_end(&worker, life),
            (3, CloseReason::Write),
            "an answer that the client has no room for"
        );

        let place = worker.admit().unwrap();
        place.life().frames_whole(true);
        place.life().stream_begins();
        place.life().stream_ends();
        place.life().frames_whole(false);
        worker.sweep();
        place.life().frames_whole(false);
        assert_eq!(sweeps_until_end(&worker, place.life()), (4, CloseReason::Head), "half a frame");
    }
}
