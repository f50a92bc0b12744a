//! tmp
pub trait Service {
    fn call(
        &self,
        request: http::Request<hyper::body::Incoming>,
        peer: &std::rc::Rc<super::connection::Peer>,
    ) -> impl Future<Output = http::Response<http_body_util::Full<bytes::Bytes>>>;
}
