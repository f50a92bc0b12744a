//! Whether injected errors were met. The mock does not tell how many it still has in store for a kind of request, but each such request
//! takes one: so we send some by hand until there are none left.
//!
//! Version 0 of each request, without topics (<https://kafka.apache.org/protocol#protocol_messages>).

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use super::{Api, Cluster, Err};

/// How many of the errors, all of one kind, nobody has met. Takes them away.
pub(super) fn left(cluster: &Cluster, api: Api, errors: &[Err]) -> usize {
    let cuts = errors.first() == Some(&Err::RD_KAFKA_RESP_ERR__TRANSPORT);
    if !cuts {
        // Behind the last of them: this one cuts the connection.
        cluster.request_errors(api, &[Err::RD_KAFKA_RESP_ERR__TRANSPORT]);
    }
    let mut left = 0;
    while is_answered(cluster, api) != cuts {
        left += 1;
        assert!(left <= errors.len(), "{api:?}: more errors than were injected");
    }
    left
}

/// Whether the mock answers a request, or cuts the connection.
fn is_answered(cluster: &Cluster, api: Api) -> bool {
    let brokers = cluster.bootstrap_servers();
    let mut stream = TcpStream::connect(brokers.split(',').next().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let body = body(api);
    let mut request = (10 + body.len() as u32).to_be_bytes().to_vec();
    // Its key, version 0, a number, no name of ours.
    request.extend((i16::from(api)).to_be_bytes());
    request.extend([0, 0, 0, 0, 0, 1, 0xff, 0xff]);
    request.extend(body);
    stream.write_all(&request).unwrap();
    match stream.read(&mut [0; 4]) {
        Ok(read) => read > 0,
        Result::Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
        Result::Err(error) => panic!("{api:?}: {error}"),
    }
}

fn body(api: Api) -> Vec<u8> {
    let id = b"\0\x05probe";
    let (producer, no_topics) = ([0; 8 + 2], [0; 4]);
    match api {
        Api::ApiVersion => Vec::new(),
        // No acks' time-out, no topics.
        Api::Produce => [&[0xff, 0xff][..], &[0; 4], &no_topics].concat(),
        // A consumer, no wait, no bytes.
        Api::Fetch => [&[0xff; 4][..], &[0; 8], &no_topics].concat(),
        Api::ListOffsets => [&[0xff; 4][..], &no_topics].concat(),
        Api::FindCoordinator => id.to_vec(),
        Api::InitProducerId => [&id[..], &10_000_i32.to_be_bytes()].concat(),
        Api::AddPartitionsToTxn => [&id[..], &producer, &no_topics].concat(),
        Api::EndTxn => [&id[..], &producer, &[0]].concat(),
        other => panic!("{other:?}: write its request down here"),
    }
}
