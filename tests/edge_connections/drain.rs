//! The end of a worker: what is under way is finished, nobody is reset, and it does not take for ever.

use std::time::{Duration, Instant};

use fingerpost::edge::counters::CloseReason;
use tokio::task::spawn_local;

use super::{Options, Server, http_client::patiently, in_worker};

fn draining_idle(after: Duration) -> Options {
    let mut options = Options::default();
    options.deadlines.drain_idle = after;
    options.deadlines.linger = Duration::from_millis(50);
    options
}

#[test]
fn what_is_under_way_is_finished() {
    in_worker(async {
        let server = Server::start(draining_idle(Duration::from_millis(50)));
        let (mut busy, mut half, mut idle) = (server.raw().await, server.raw().await, server.raw().await);
        let multiplexed = server.http2().await;
        busy.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n").await;
        let stream = {
            let multiplexed = multiplexed.clone();
            spawn_local(async move { multiplexed.get("/slow").await })
        };
        idle.get("/").await;
        half.send("GET / HTTP/1.1\r\n").await;
        server.called(3).await;
        server.drain.cancel();
        assert_eq!(idle.closed().await, b"", "an idle one is closed");
        assert_eq!(server.closed(CloseReason::Drain), 1);
        half.send("Host: test\r\n\r\n").await;
        let answer = half.answer().await.unwrap();
        assert!(answer.status == 200 && answer.closes());
        assert!(!server.done.is_finished(), "two are still under way");
        // One permit each: both wait already.
        server.service.let_go.notify_waiters();
        let answer = busy.answer().await.unwrap();
        assert!(answer.status == 200 && answer.closes());
        assert_eq!(patiently("the stream", stream).await.unwrap().unwrap().0, 200);
        assert!(multiplexed.get("/").await.is_err(), "told to go away");
        let address = server.address;
        server.done().await;
        assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
    });
}

/// Whoever asks within the grace is answered, and told to come again elsewhere: under load nobody meets a closed connection.
#[test]
fn keep_alive_clients_are_told_with_an_answer() {
    in_worker(async {
        let server = Server::start(Options::default());
        let (mut used, mut fresh) = (server.raw().await, server.raw().await);
        used.get("/").await;
        server.open(2).await;
        let mut queued = server.raw().await;
        server.drain.cancel();
        for client in [&mut used, &mut fresh, &mut queued] {
            let answer = client.get("/").await;
            assert!(answer.status == 200 && answer.closes());
            assert_eq!(client.closed().await, b"");
        }
        drop((used, fresh, queued));
        server.done().await;
    });
}

#[test]
fn it_ends_in_time_whatever_clients_do() {
    in_worker(async {
        let mut options = draining_idle(Duration::from_secs(3_600));
        options.drain_timeout = Duration::from_millis(100);
        let server = Server::start(options);
        let (mut stuck, mut silent) = (server.raw().await, server.raw().await);
        let multiplexed = server.http2().await;
        stuck.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n").await;
        let stream = spawn_local(async move { multiplexed.get("/slow").await });
        server.called(2).await;
        server.open(3).await;
        server.drain.cancel();
        let begun = Instant::now();
        stuck.closed().await;
        silent.closed().await;
        assert!(patiently("the stream", stream).await.unwrap().is_err());
        assert_eq!(server.closed(CloseReason::Drain), 3);
        server.done().await;
        assert!(begun.elapsed() < Duration::from_secs(10));
    });
}
