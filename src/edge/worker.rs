//! What all connections of a worker share: the count of sweeps that stands for the time, the list of who is here, the drain.
//!
//! No connection and no request has a timer. A worker counts sweeps ([`Worker::sweep`], every [`Deadlines::sweep`]); a connection notes
//! the sweep in which its phase began, which costs one store, and each sweep ends those that are past their deadline. So a deadline is
//! kept to within two sweeps, and never early.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    counters::{CloseReason, ConnectionCounters},
    head::LastHead,
    life::Life,
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
pub(super) type Sweeps = u32;

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
        let life = Life::new(self, lives.len());
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

    pub(super) fn now(&self) -> Sweeps {
        self.now.get()
    }

    /// Whether the deadline of what began in that sweep is certainly over.
    pub(super) fn past(&self, since: Sweeps, deadline: Duration) -> bool {
        // It began somewhere within its sweep, so one sweep more must have passed.
        let whole = self.now.get().wrapping_sub(since).checked_sub(1);
        whole.is_some_and(|whole| self.deadlines.sweep.saturating_mul(whole) >= deadline)
    }

    pub(super) fn begin_drain(&self) {
        self.draining.set(Some(self.now.get()));
        self.lives.borrow().iter().for_each(|life| life.wake());
    }

    /// Since when.
    pub(super) fn draining(&self) -> Option<Sweeps> {
        self.draining.get()
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
        let index = self.0.index();
        lives.swap_remove(index);
        if let Some(moved) = lives.get(index) {
            moved.set_index(index);
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

/// Remembers whom to wake.
pub(super) fn keep_waker(kept: &RefCell<Option<Waker>>, cx: &Context<'_>) {
    let mut kept = kept.borrow_mut();
    if !kept.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *kept = Some(cx.waker().clone());
    }
}
