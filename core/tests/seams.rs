//! The client in a simulation: its network, its dice and all its time are the test's own.

#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use handfast_core::{Client, ErrorKind, session::TokioClock};
use handfast_proto::etcdserverpb::{PutResponse, RangeRequest, RangeResponse};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    header::{HeaderMap, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use prost::Message;
use tokio::{
    io::{DuplexStream, duplex},
    time::{Instant, sleep},
};
use tonic::transport::Uri;

/// How a member behaves.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Refuses,
    /// Takes connections and requests, and says nothing at all.
    Silent,
    /// Takes this long for what needs the other members; answers by itself at once.
    Slow(Duration),
}

/// Members that live in this process.
#[derive(Clone)]
struct World {
    manners: Arc<Mutex<BTreeMap<String, Manner>>>,
    /// Who was connected to, and when.
    trace: Arc<Mutex<Vec<(String, Duration)>>>,
    requests: Arc<AtomicUsize>,
    begun: Instant,
}

impl World {
    fn new(manners: &[(&str, Manner)]) -> Self {
        let manners = manners.iter();
        Self {
            manners: Arc::new(Mutex::new(
                manners
                    .map(|(host, manner)| ((*host).to_owned(), *manner))
                    .collect(),
            )),
            trace: Arc::default(),
            requests: Arc::default(),
            begun: Instant::now(),
        }
    }

    fn client(&self, seed: u64) -> Client {
        let world = self.clone();
        let hosts = self.manners.lock().keys().cloned().collect::<Vec<_>>();
        Client::builder()
            .endpoints(hosts)
            .timeout(Duration::from_secs(300))
            .connector(move |uri| {
                let world = world.clone();
                async move { world.connect(&uri) }
            })
            .clock(Arc::new(TokioClock::new()))
            .seed(seed)
            .build()
            .unwrap()
    }

    fn connect(&self, uri: &Uri) -> io::Result<DuplexStream> {
        let host = uri.host().unwrap().to_owned();
        self.trace.lock().push((host.clone(), self.begun.elapsed()));
        let manner = self.manners.lock()[&host];
        let (near, far) = duplex(1 << 16);
        match manner {
            Manner::Refuses => return Err(io::ErrorKind::ConnectionRefused.into()),
            Manner::Silent => {
                tokio::spawn(async move {
                    let mut far = far;
                    let _ = tokio::io::copy(&mut far, &mut tokio::io::sink()).await;
                    // Nothing to read any more, but the connection stays.
                    sleep(Duration::from_secs(1_000_000)).await;
                });
            }
            Manner::Slow(delay) => {
                let requests = Arc::clone(&self.requests);
                let service = service_fn(move |request| {
                    requests.fetch_add(1, Ordering::Relaxed);
                    answer(request, delay)
                });
                let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(far), service);
                tokio::spawn(serving);
            }
        }
        Ok(near)
    }
}

type Body = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

async fn answer(request: Request<Incoming>, delay: Duration) -> io::Result<Response<Body>> {
    let path = request.uri().path().to_owned();
    let message = request.into_body().collect().await.unwrap().to_bytes();
    let answer = match path.as_str() {
        "/etcdserverpb.KV/Range" => {
            let range = RangeRequest::decode(message.slice(5..)).unwrap();
            if !range.serializable {
                sleep(delay).await;
            }
            RangeResponse::default().encode_to_vec()
        }
        _ => {
            sleep(delay).await;
            PutResponse::default().encode_to_vec()
        }
    };
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(answer.len()).unwrap());
    framed.put_slice(&answer);
    let trailers = HeaderMap::from_iter([(
        hyper::header::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]);
    let frames = vec![
        Ok(Frame::data(framed.freeze())),
        Ok(Frame::trailers(trailers)),
    ];
    let response = Response::builder().header("content-type", "application/grpc");
    Ok(response
        .body(StreamBody::new(stream::iter(frames)))
        .unwrap())
}

const SOON: Manner = Manner::Slow(Duration::from_millis(1));
const LIMIT: Duration = Duration::from_secs(3);

/// A seed with which the client asks `first` first.
async fn seed_for(first: &str) -> u64 {
    for seed in 0..100 {
        let world = World::new(&[("a", Manner::Refuses), ("b", Manner::Refuses)]);
        let client = world.client(seed).with_timeout(Duration::from_millis(1));
        let _ = client.get("k").await;
        if world.trace.lock()[0].0 == first {
            return seed;
        }
    }
    panic!("no seed begins with {first}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_member_is_left_by_reads_within_seconds_whatever_the_timeout() {
    let seed = seed_for("a").await;
    let world = World::new(&[("a", Manner::Silent), ("b", SOON)]);
    let client = world.client(seed);
    let begun = Instant::now();
    client.get("k").await.unwrap();
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    let begun = Instant::now();
    client.put("k", "v").await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_write_to_a_silent_member_is_in_doubt_within_seconds_unless_it_may_be_repeated() {
    let seed = seed_for("a").await;
    let world = World::new(&[("a", Manner::Silent), ("b", SOON)]);
    let begun = Instant::now();
    let error = world.client(seed).put("k", "v").await.unwrap_err();
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    assert_eq!((error.in_doubt(), error.attempts()), (true, 1));
    let client = world.client(seed);
    client.put("k", "v").repeatable().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_member_that_lives_is_waited_for() {
    let seed = seed_for("a").await;
    let slow = Manner::Slow(Duration::from_secs(100));
    let world = World::new(&[("a", slow), ("b", slow)]);
    let begun = Instant::now();
    world.client(seed).put("k", "v").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(100));
    assert_eq!(world.trace.lock().len(), 1, "one connection is enough");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_probed_while_nobody_waits() {
    let world = World::new(&[("a", SOON), ("b", SOON)]);
    let client = world.client(1);
    client.get("k").await.unwrap();
    sleep(Duration::from_secs(600)).await;
    assert_eq!(world.requests.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_single_member_has_all_the_time_the_caller_gives_it() {
    let world = World::new(&[("a", Manner::Silent)]);
    let client = world.client(1).with_timeout(Duration::from_secs(12));
    let begun = Instant::now();
    let error = client.put("k", "v").await.unwrap_err();
    assert_eq!((error.kind(), error.in_doubt()), (ErrorKind::Timeout, true));
    assert!(begun.elapsed() >= Duration::from_secs(12));
}

#[tokio::test(start_paused = true)]
async fn every_member_that_failed_is_named() {
    let world = World::new(&[("a", Manner::Refuses), ("b", Manner::Silent)]);
    let client = world.client(1).with_timeout(Duration::from_secs(4));
    let error = client.get("k").await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no member could serve it"), "{text}");
    assert!(text.contains("http://a:2379: cannot connect"), "{text}");
    assert!(text.contains("http://b:2379: "), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_run_repeats_from_its_seed() {
    async fn run(seed: u64) -> Vec<(String, Duration)> {
        let refuses = Manner::Refuses;
        let world = World::new(&[("a", refuses), ("b", refuses), ("c", refuses)]);
        let client = world.client(seed).with_timeout(Duration::from_secs(5));
        client.get("k").await.unwrap_err();
        world.trace.lock().clone()
    }
    let first = run(7).await;
    assert!(first.len() > 10, "{first:?}");
    assert_eq!(first, run(7).await);
    assert_ne!(first, run(8).await);
}
