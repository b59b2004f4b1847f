//! HTTP/1.1 on 127.0.0.1.

use super::{
    Shared,
    operation::{self, Refusal},
    script::Verdict,
};
use futures_util::stream;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

type Broken = StreamBody<stream::Iter<std::vec::IntoIter<io::Result<Frame<Bytes>>>>>;
type Body = Either<Full<Bytes>, Broken>;

/// Takes connections until it is dropped.
pub(super) struct Server {
    address: SocketAddr,
    cut: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(shared: Arc<Shared>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, cuts) = watch::channel(());
        Self { address, cut, task: tokio::spawn(accept(listener, shared, cuts)) }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn cut_connections(&self) {
        self.cut.send_replace(());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, cuts: watch::Receiver<()>) {
    // Ended with this task.
    let mut connections = JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let _ = socket.set_nodelay(true);
        let (shared, mut cuts) = (Arc::clone(&shared), cuts.clone());
        cuts.mark_unchanged();
        connections.spawn(async move {
            let service = service_fn(|request| serve(&shared, request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            tokio::select! {
                _ = connection => {}
                _ = cuts.changed() => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(shared: &Shared, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
    let operation = target.and_then(|target| target.rsplit('.').next()).unwrap_or_default().to_owned();
    let signed = request.headers().contains_key("authorization");
    let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    let verdict = shared.script().judge(&operation);
    let answer = match &verdict {
        Some(Verdict::Refuse(code)) => Err(Refusal::new(code, "as the test has it")),
        _ if !signed => Err(Refusal::new("MissingAuthenticationTokenException", "Request is not signed")),
        _ => operation::answer(shared, &operation, &body),
    };
    let (status, body) = match answer {
        Ok(body) => (200, body),
        Err(refusal) => (refusal.status(), refusal.body()),
    };
    let body = match verdict {
        Some(Verdict::Cut) => broken(&body),
        Some(Verdict::Delay(time)) => later(time, body).await,
        Some(Verdict::Hold(held)) => {
            held.arrived.notify_one();
            held.released.notified().await;
            Either::Left(Full::from(body))
        }
        _ => Either::Left(Full::from(body)),
    };
    let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_millis(shared.world().now()));
    let answer = Response::builder().status(status).header("date", date);
    answer.header("content-type", "application/x-amz-json-1.0").body(body).map_err(io::Error::other)
}

async fn later(time: Duration, body: String) -> Body {
    tokio::time::sleep(time).await;
    Either::Left(Full::from(body))
}

/// Half of it, and then the connection ends.
fn broken(body: &str) -> Body {
    let half = Bytes::copy_from_slice(&body.as_bytes()[..body.len() / 2]);
    let pieces = vec![Ok(Frame::data(half)), Err(io::ErrorKind::ConnectionAborted.into())];
    Either::Right(StreamBody::new(stream::iter(pieces)))
}
