//! Opens sockets and looks names up past the HTTP import: each must be refused.

use crate::prelude::*;
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let host = settings::require("host")?;
    must(TcpStream::connect(&host).is_err(), "connected to the host")?;
    must(TcpListener::bind("127.0.0.1:0").is_err(), "listens")?;
    must(UdpSocket::bind("0.0.0.0:0").is_err(), "has a socket")?;
    must("localhost:80".to_socket_addrs().is_err(), "looked a name up")
}
