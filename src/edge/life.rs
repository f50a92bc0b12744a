//! The life of a connection: which phase it is in and since when, and who ends it when it stays there too long.
//!
//! No connection and no request has a timer. A worker counts sweeps ([`Worker::sweep`], every [`Deadlines::sweep`]); a connection notes
//! the sweep in which its phase began, which costs one store, and each sweep ends those that are past their deadline. So a deadline is
//! kept to within two sweeps, and never early.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    admit::Refusal,
    counters::{CloseReason, ConnectionCounters},
    head::{LastHead, Progress},
};
use crate::core::limits;

/// How long a connection may stay in each phase. Tests shorten them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    pub preface: Duration,
    pub handshake: Duration,
    pub head: Duration,
    pub body: Duration,
    pub write: Duration,
    pub idle: Duration,
    pub linger: Duration,
    pub drain_idle: Duration,
    pub sweep: Duration,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            preface: limits::PREFACE_TIMEOUT,
            handshake: limits::TLS_HANDSHAKE_TIMEOUT,
            head: limits::HEAD_TIMEOUT,
            body: limits::BODY_TIMEOUT,
            write: limits::WRITE_TIMEOUT,
            idle: limits::IDLE_TIMEOUT,
            linger: limits::LINGER_TIMEOUT,
            drain_idle: limits::DRAIN_IDLE_GRACE,
            sweep: limits::SWEEP_INTERVAL,
        }
    }
}

/// A number of sweeps; also a point in time, counted from the worker's start.
type Sweeps = u32;

/// What all connections of a worker share. One thread only.
pub(super) struct Worker {
    pub(super) counters: Arc<ConnectionCounters>,
    pub(super) deadlines: Deadlines,
    max_connections: usize,
    now: Cell<Sweeps>,
    draining: Cell<Option<Sweeps>>,
    forced: Cell<bool>,
    lives: RefCell<Vec<Rc<Life>>>,
    bodies: RefCell<Vec<Rc<BodyWait>>>,
    emptied: Notify,
    /// See [`super::head`].
    pub(super) last_head: RefCell<LastHead>,
}

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
    /// HTTP/1: the request in service has a body, so what arrives is no head.
    body: Cell<bool>,
    pub(super) head: Cell<Progress>,
    /// HTTP/1: the client was told that its connection ends with this answer, because of what it sent.
    close: Cell<bool>,
    /// HTTP/1: the answer that hyper cannot give, to be written when it has let go of the socket.
    pub(super) refusal: Cell<Option<Refusal>>,
    ending: Cell<Option<CloseReason>>,
    waker: RefCell<Option<Waker>>,
}

// === impl Worker ===

impl Worker {
    pub(super) fn new(counters: Arc<ConnectionCounters>, deadlines: Deadlines, max_connections: usize) -> Rc<Worker> {
        Rc::new(Worker {
            counters,
            deadlines,
            max_connections,
            now: Cell::new(0),
            draining: Cell::new(None),
            forced: Cell::new(false),
            lives: RefCell::default(),
            bodies: RefCell::default(),
            emptied: Notify::new(),
            last_head: RefCell::default(),
        })
    }

    /// A place for one more connection, when there is one.
    pub(super) fn admit(self: &Rc<Worker>) -> Option<Registered> {
        let mut lives = self.lives.borrow_mut();
        if lives.len() >= self.max_connections {
            self.counters.count_closed(CloseReason::TooMany);
            return None;
        }
        let life = Rc::new(Life {
            worker: Rc::clone(self),
            index: Cell::new(lives.len()),
            phase: Cell::new(Phase::Preface),
            since: Cell::new(self.now.get()),
            blocked: Cell::new(None),
            unfinished: Cell::new(None),
            streams: Cell::new(0),
            unsent: Cell::new(0),
            unsent_since: Cell::new(0),
            body: Cell::new(false),
            head: Cell::default(),
            close: Cell::new(false),
            refusal: Cell::new(None),
            ending: Cell::new(None),
            waker: RefCell::new(None),
        });
        lives.push(Rc::clone(&life));
        self.counters.count_accepted();
        self.counters.set_open(lives.len());
        Some(Registered(life))
    }

    /// Ends what is past its deadline.
    pub(super) fn sweep(&self) {
        self.now.set(self.now.get().wrapping_add(1));
        for life in self.lives.borrow().iter() {
            if let Some(reason) = life.overdue() {
                life.end(reason);
            }
        }
        self.bodies.borrow_mut().retain(|wait| {
            let waited_for = Rc::strong_count(wait) > 1;
            if waited_for && self.past(wait.since, self.deadlines.body) {
                wait.expire();
            }
            waited_for
        });
    }

    fn past(&self, since: Sweeps, deadline: Duration) -> bool {
        let whole = deadline.as_nanos().div_ceil(self.deadlines.sweep.as_nanos().max(1));
        // The phase began somewhere within its sweep.
        u128::from(self.now.get().wrapping_sub(since)) > whole
    }

    pub(super) fn begin_drain(&self) {
        self.draining.set(Some(self.now.get()));
        self.lives.borrow().iter().for_each(|life| life.wake());
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get().is_some()
    }

    /// Ends every connection now.
    pub(super) fn force_drain(&self) {
        self.forced.set(true);
        self.lives.borrow().iter().for_each(|life| life.end(CloseReason::Drain));
    }

    pub(super) fn is_forced(&self) -> bool {
        self.forced.get()
    }

    /// Returns when no connection is left.
    pub(super) async fn emptied(&self) {
        while !self.lives.borrow().is_empty() {
            self.emptied.notified().await;
        }
    }

    /// A deadline for a request's body, which begins now.
    pub(super) fn body_wait(&self) -> Rc<BodyWait> {
        let wait = Rc::new(BodyWait { since: self.now.get(), expired: Cell::new(false), waker: RefCell::new(None) });
        self.bodies.borrow_mut().push(Rc::clone(&wait));
        wait
    }
}

/// Keeps a connection in its worker's list.
pub(super) struct Registered(Rc<Life>);

impl Registered {
    pub(super) fn life(&self) -> &Rc<Life> {
        &self.0
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let worker = &self.0.worker;
        let mut lives = worker.lives.borrow_mut();
        let index = self.0.index.get();
        lives.swap_remove(index);
        if let Some(moved) = lives.get(index) {
            moved.index.set(index);
        }
        worker.counters.set_open(lives.len());
        if lives.is_empty() {
            worker.emptied.notify_one();
        }
    }
}

/// A request whose body is on its way.
pub(super) struct BodyWait {
    since: Sweeps,
    expired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl BodyWait {
    fn expire(&self) {
        self.expired.set(true);
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Whether the time is over; if not, the task is woken when it is.
    pub(super) fn poll_expired(&self, cx: &Context<'_>) -> bool {
        keep_waker(&self.waker, cx);
        self.expired.get()
    }
}

fn keep_waker(kept: &RefCell<Option<Waker>>, cx: &Context<'_>) {
    let mut kept = kept.borrow_mut();
    if !kept.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *kept = Some(cx.waker().clone());
    }
}

// === impl Life ===

impl Life {
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.worker.now.get());
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

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    fn overdue(&self) -> Option<CloseReason> {
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
        (waits && long(worker.draining.get(), deadlines.drain_idle)).then_some(CloseReason::Drain)
    }

    // --- what the socket sees ---

    pub(super) fn write_blocked(&self) {
        if self.blocked.get().is_none() {
            self.blocked.set(Some(self.worker.now.get()));
        }
    }

    /// Everything that we wrote has been taken.
    pub(super) fn write_flushed(&self) {
        self.blocked.set(None);
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
        if has_body {
            self.body.set(true);
            self.head.set(Progress::default());
        }
    }

    pub(super) fn say_close(&self) {
        self.close.set(true);
    }

    pub(super) fn said_close(&self) -> bool {
        self.close.get()
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
            self.unfinished.set(Some(self.worker.now.get()));
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
            self.unsent_since.set(self.worker.now.get());
        }
        self.unsent.set(self.unsent.get() + 1);
    }

    pub(super) fn answer_ends(&self) {
        self.unsent.set(self.unsent.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(Rc::ptr_eq(&worker.lives.borrow()[0], places[0].life()));
        assert_eq!(places[0].life().index.get(), 0);
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
