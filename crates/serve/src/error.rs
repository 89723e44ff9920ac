//! Why a server does not come to be, or ends.

use std::io;
use std::net::SocketAddr;
use untangle_interpret::InterpretError;
use untangle_model::ModelError;
use untangle_schema::{Classify, Fault};

/// An error of this crate. What is wrong with a request is told its sender, and is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A dictionary that is not of this model, or its database.
    #[error(transparent)]
    Interpret(#[from] InterpretError),
    /// A variant of the model that cannot be steered so.
    #[error("--steered {name}: {source}")]
    Variant {
        /// Its name.
        name: String,
        /// Why not.
        source: Box<InterpretError>,
    },
    /// A variant with the name of the model.
    #[error("--steered {name}: that is the model's own name, under which it is not steered; take another one")]
    Named {
        /// The name.
        name: String,
    },
    /// The port is taken.
    #[error(
        "{address}: another program listens there; take another port with --port, or any that is free with --port 0"
    )]
    Taken {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened at.
    #[error(
        "{address}: cannot be listened at: {source}; --host takes an address of this machine, --port a port from 1024 on"
    )]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Others could reach the server without a token.
    #[error(
        "{address} can be reached from other machines, and needs a token: put at least {least} letters into a file and give \
         it with --token-file"
    )]
    NoToken {
        /// The address.
        address: SocketAddr,
        /// Letters of a token at least.
        least: usize,
    },
    /// A token that can be guessed, or that no client can send.
    #[error("the token {problem}; take at least {least} letters without spaces, such as `openssl rand -hex 32` writes")]
    Token {
        /// What is wrong with it.
        problem: &'static str,
        /// Letters of a token at least.
        least: usize,
    },
    /// The system gave no threads or connections.
    #[error("while starting the server: {0}")]
    Start(#[source] io::Error),
}

impl Classify for ServeError {
    fn fault(&self) -> Fault {
        match self {
            ServeError::Model(error) => error.fault(),
            ServeError::Interpret(error) => error.fault(),
            ServeError::Variant { source, .. } => source.fault(),
            ServeError::Taken { .. } | ServeError::Address { .. } | ServeError::Start(_) => Fault::Io,
            ServeError::Named { .. } | ServeError::NoToken { .. } | ServeError::Token { .. } => Fault::Usage,
        }
    }
}
