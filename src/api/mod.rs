//! The control plane over HTTP: the JSON API (one file a resource), and the ops listener.

pub mod ops;
