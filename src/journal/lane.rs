//! A lane inside a worker's event loop: group commit.
//!
//! The first record of a group wakes the flush task, which yields once, so that every other request of this turn joins, and
//! writes the group with one call. The requests wait for their group, not for a write of their own. Syncs and everything else
//! that may take long run on the lane's helper thread, while the next group collects.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, mpsc},
    task::{Context, Poll, Waker},
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, Sleep, sleep_until},
};
use uuid::Uuid;

use super::{
    error::{AppendError, JournalError},
    job::{Done, Job},
    shared::{Durability, Shared, count},
    shed::Shed,
    watch::LaneWatch,
    writer::{LaneWriter, Ticket, Written},
};
use crate::core::{
    event::{EventRef, Kind},
    id::EventId,
    limits::LANE_RETRY_INTERVAL,
    time::Millis,
};

/// Handle of a worker to its lane. Lives on the worker's thread.
#[derive(Clone, Debug)]
pub struct Lane(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    watch: Arc<LaneWatch>,
    state: RefCell<State>,
    /// To the helper thread.
    jobs: mpsc::Sender<Job>,
}

#[derive(Debug)]
struct State {
    writer: LaneWriter,
    shed: Shed,
    /// Who waits for the collecting group, and who for the one before it.
    collecting: Vec<Waker>,
    in_flight: Vec<Waker>,
    flush: Option<Waker>,
    /// Something has happened that the flush task must look at.
    dirty: bool,
    closing: bool,
    ended: bool,
    closers: Vec<Waker>,
    retried: Instant,
}

impl Lane {
    /// Takes the writer into this thread's event loop: call it inside the worker's `LocalSet`. Its flush task and its helper
    /// thread end with [`Lane::close`], or when the `LocalSet` is dropped.
    pub fn start(writer: LaneWriter) -> Result<Lane, JournalError> {
        let (jobs, work) = mpsc::channel::<Job>();
        let (finished, done) = unbounded_channel();
        let watch = Arc::clone(writer.watch());
        std::thread::Builder::new()
            .name("journal-sync".to_owned())
            .spawn(move || help(&work, &finished))
            .map_err(JournalError::Thread)?;
        let inner = Rc::new(Inner {
            shared: writer.shared(),
            watch,
            jobs,
            state: RefCell::new(State {
                writer,
                shed: Shed::default(),
                collecting: Vec::new(),
                in_flight: Vec::new(),
                flush: None,
                dirty: true,
                closing: false,
                ended: false,
                closers: Vec::new(),
                retried: Instant::now(),
            }),
        });
        tokio::task::spawn_local(flush(Rc::clone(&inner), done));
        Ok(Lane(inner))
    }

    pub fn watch(&self) -> &Arc<LaneWatch> {
        &self.0.watch
    }

    /// Encodes an event into the group of this turn. It is recorded when [`Lane::committed`] says so.
    #[inline]
    pub fn append(&self, event: &EventRef<'_>) -> Result<Ticket, AppendError> {
        let mut state = self.0.state.borrow_mut();
        if state.closing {
            return Err(AppendError::Closed);
        }
        let ticket = state.writer.append(event)?;
        state.wake_flush();
        Ok(ticket)
    }

    /// Waits until the record is as durable as the journal promises, or refused.
    pub fn committed(&self, ticket: Ticket) -> Committed<'_> {
        Committed { lane: self, ticket, slot: None }
    }

    /// A click was answered without a record: it is counted, and the reports will tell.
    pub fn shed(&self, now: Millis) {
        count(&self.0.shared.counters.shed, 1);
        let mut state = self.0.state.borrow_mut();
        state.shed.add(now);
        state.wake_flush();
    }

    /// Takes no more records, commits what there is, seals the last segment. Returns how many shed clicks no record could
    /// tell of, because the journal takes none to the end.
    pub async fn close(&self) -> u64 {
        {
            let mut state = self.0.state.borrow_mut();
            state.closing = true;
            state.wake_flush();
        }
        poll_fn(|context| {
            let mut state = self.0.state.borrow_mut();
            if state.ended {
                return Poll::Ready(state.shed.untold());
            }
            state.closers.push(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl State {
    #[inline]
    fn wake_flush(&mut self) {
        if !self.dirty {
            self.dirty = true;
            if let Some(waker) = self.flush.take() {
                waker.wake();
            }
        }
    }
}

/// Future of [`Lane::committed`].
#[derive(Debug)]
#[must_use = "the record is not recorded before this says so"]
pub struct Committed<'a> {
    lane: &'a Lane,
    ticket: Ticket,
    /// Place among the group's waiters.
    slot: Option<usize>,
}

impl Future for Committed<'_> {
    type Output = Result<(), AppendError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.lane.0.state.borrow_mut();
        if let Some(outcome) = state.writer.outcome(self.ticket) {
            return Poll::Ready(outcome);
        }
        let waiters =
            if self.ticket == state.writer.collecting() { &mut state.collecting } else { &mut state.in_flight };
        match self.slot.and_then(|slot| waiters.get_mut(slot)) {
            Some(waker) => waker.clone_from(context.waker()),
            None => {
                waiters.push(context.waker().clone());
                let slot = waiters.len() - 1;
                drop(state);
                self.slot = Some(slot);
            }
        }
        Poll::Pending
    }
}

// === The flush task ===

#[derive(Debug)]
enum Event {
    Work,
    Done(Done),
    Timer,
}

/// A flush task that has failed would leave every request of its worker waiting for ever, and the process alive. Ended,
/// the process leaves its lane to the next one.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

async fn flush(inner: Rc<Inner>, mut done: UnboundedReceiver<Done>) {
    let _guard = AbortOnPanic;
    let mut timer = pin!(sleep_until(Instant::now()));
    let mut armed = false;
    while !inner.state.borrow().ended {
        match next_event(&inner, &mut done, timer.as_mut(), armed).await {
            Event::Work => tokio::task::yield_now().await,
            Event::Done(outcome) => inner.done(outcome),
            Event::Timer => {
                armed = false;
                inner.tick();
            }
        }
        inner.turn();
        if let Some(delay) = inner.delay().filter(|_| !armed) {
            timer.as_mut().reset(Instant::now() + delay);
            armed = true;
        }
    }
}

async fn next_event(
    inner: &Inner,
    done: &mut UnboundedReceiver<Done>,
    mut timer: Pin<&mut Sleep>,
    armed: bool,
) -> Event {
    poll_fn(|context| {
        if let Poll::Ready(Some(outcome)) = done.poll_recv(context) {
            return Poll::Ready(Event::Done(outcome));
        }
        {
            let mut state = inner.state.borrow_mut();
            if state.dirty {
                return Poll::Ready(Event::Work);
            }
            if !state.flush.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                state.flush = Some(context.waker().clone());
            }
        }
        if armed && timer.as_mut().poll(context).is_ready() {
            return Poll::Ready(Event::Timer);
        }
        Poll::Pending
    })
    .await
}

impl Inner {
    /// Writes what has collected, hands out jobs, wakes whose group is decided.
    fn turn(&self) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        state.dirty = false;
        self.say_missing(state);
        let written = state.writer.write();
        match written {
            Written::Syncing => std::mem::swap(&mut state.collecting, &mut state.in_flight),
            Written::Committed => wake_all(&mut state.collecting),
            Written::Refused => {
                wake_all(&mut state.in_flight);
                wake_all(&mut state.collecting);
            }
            Written::Nothing | Written::Waiting => {}
        }
        self.settle_shed(state);
        if state.closing {
            self.end(state);
        }
        while let Some(job) = state.writer.next_job() {
            if let Err(mpsc::SendError(job)) = self.jobs.send(job) {
                // The helper is gone, which only a panic can do: slower from now on, but nobody waits for ever.
                self.take(state, job.run());
                state.dirty = true;
            }
        }
    }

    fn done(&self, done: Done) {
        self.take(&mut self.state.borrow_mut(), done);
    }

    /// Takes in what became of a job, and wakes whose group is decided by it.
    fn take(&self, state: &mut State, done: Done) {
        let collecting = state.writer.collecting();
        state.writer.done(done);
        if state.writer.outcome(Ticket(collecting.0.saturating_sub(1))).is_some() {
            wake_all(&mut state.in_flight);
        }
        if state.writer.collecting() != collecting {
            // Everything that was not committed has been refused.
            wake_all(&mut state.collecting);
        }
        self.settle_shed(state);
    }

    fn tick(&self) {
        let mut state = self.state.borrow_mut();
        if state.retried.elapsed() >= LANE_RETRY_INTERVAL {
            state.retried = Instant::now();
            state.writer.retry();
        }
        state.writer.sync();
    }

    /// When to come back without being called.
    fn delay(&self) -> Option<std::time::Duration> {
        let state = self.state.borrow();
        let retry = state.writer.needs_retry().then_some(LANE_RETRY_INTERVAL);
        let process = state.writer.durability() == Durability::Process;
        let sync = (process && state.writer.wants_sync()).then_some(self.shared.settings.sync_interval);
        retry.into_iter().chain(sync).min()
    }

    fn say_missing(&self, state: &mut State) {
        if !state.shed.has_open() || state.writer.is_failed() {
            return;
        }
        let State { shed, writer, .. } = state;
        shed.say(|missing| {
            let random = *Uuid::new_v4().as_bytes();
            let mut tail = [0; 10];
            tail.copy_from_slice(&random[6..]);
            let id = EventId::new(missing.hour, tail);
            let event = EventRef {
                id: &id.0,
                kind: Kind::Missing as i32,
                time_ms: missing.hour.0,
                count: missing.count,
                ..EventRef::default()
            };
            writer.append(&event).ok()
        });
    }

    fn settle_shed(&self, state: &mut State) {
        let State { shed, writer, .. } = state;
        if !shed.is_empty() {
            shed.settle(|ticket| writer.outcome(ticket).map(|outcome| outcome.is_ok()));
            // Said again by itself as soon as the lane can write.
            state.dirty |= state.shed.has_open() && !state.writer.is_failed() && state.writer.is_idle();
        }
    }

    /// One step of closing.
    fn end(&self, state: &mut State) {
        let untold = state.shed.has_open() && !state.writer.is_failed();
        if !state.writer.is_idle() || untold {
            return;
        }
        if !state.writer.is_closed() {
            state.writer.close();
            state.writer.seal();
        }
        if self.watch.is_closed() {
            state.ended = true;
            wake_all(&mut state.closers);
        }
    }
}

fn wake_all(waiters: &mut Vec<Waker>) {
    for waker in waiters.drain(..) {
        waker.wake();
    }
}

/// The helper thread: runs jobs in order until the lane is gone.
fn help(work: &mpsc::Receiver<Job>, finished: &UnboundedSender<Done>) {
    while let Ok(job) = work.recv() {
        if finished.send(job.run()).is_err() {
            return;
        }
    }
}
