//! Connections: accepted one by one, no more than there may be, and cut off where their sender goes to sleep.

use crate::books::Book;
use crate::desk::Desk;
use crate::engine::{Engine, Served};
use crate::error::ServeError;
use crate::fresh::now;
use crate::gate::{Gate, Token};
use crate::limits::{CLOSING, CONNECTIONS, HEAD_TIME, Limits, ROOM_TIME, TURNED_AWAY};
use crate::routes::router;
use crate::shared::Shared;
use crate::wire::dictionaries::Origin;
use crate::wire::models::{DictionaryCard, ModelCard};
use crate::wire::runs::Trainings;
use crate::wire::toward::Subjects;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use untangle_interpret::Spec;
use untangle_model::ChatTemplate;
use untangle_schema::{BosPolicy, Observer};

/// Threads that read requests and write answers (chosen: they have little to do).
const THREADS: usize = 2;
/// Threads that cut texts into tokens and render conversations (chosen).
const ASIDE: usize = 4;
/// How long to wait where the system has no connection to give, such as for want of files (chosen).
const PAUSE: Duration = Duration::from_millis(50);
/// Connections that the system keeps until they are accepted (chosen: several times as many as there is room for; systems may keep fewer).
const KNOCKING: i32 = 1024;

/// An address that is listened at. Whoever connects is answered when a [`Server`] runs.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    gate: Gate,
}

/// How requests are answered.
#[derive(Debug)]
pub struct ServeOptions {
    /// How much may be asked at a time.
    pub limits: Limits,
    /// Whether prompts begin with a beginning-of-sequence token.
    pub bos: BosPolicy,
    /// How conversations become text, or why they do not.
    pub template: Result<ChatTemplate, String>,
    /// Names under which the model is steered.
    pub variants: BTreeMap<String, Vec<Spec>>,
    /// Where model, dictionaries and databases lie, for recipes that the page writes.
    pub origin: Origin,
    /// Interventions that the page begins with.
    pub tray: Vec<Spec>,
    /// Trainings that the page shows, if any.
    pub trainings: Option<Box<dyn Trainings>>,
    /// What texts may be about beyond what words say, if that is known.
    pub subjects: Option<Box<dyn Subjects>>,
}

impl Listener {
    /// Listens at an address; at any port that is free where it says 0.
    ///
    /// # Errors
    /// When others could reach it without a token, the port is taken, or the address is none of this machine.
    pub fn bind(address: SocketAddr, token: Option<Token>) -> Result<Self, ServeError> {
        let gate = Gate::new(address, token)?;
        let refused = |source: io::Error| match source.kind() {
            ErrorKind::AddrInUse => ServeError::Taken { address },
            _ => ServeError::Address { address, source },
        };
        let listener = listen(address).map_err(refused)?;
        let address = listener.local_addr().map_err(ServeError::Start)?;
        Ok(Listener { listener, address, gate })
    }

    /// The address, with the port that was found.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Listens with a longer queue than the standard library's 128: the system has whoever finds it full try again after seconds.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A server that starts again need not wait until the system has forgotten its last connections.
    // Elsewhere this option would let two programs listen at one address.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(KNOCKING)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// All that is needed to answer, ready to begin.
pub struct Server<'a> {
    engine: Engine<'a>,
    shared: Arc<Shared>,
    runtime: Runtime,
    listener: tokio::net::TcpListener,
}

impl std::fmt::Debug for Server<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl<'a> Server<'a> {
    /// Makes everything ready.
    ///
    /// # Errors
    /// When a dictionary does not belong to the model, the model has no tokenizer or unembedding, a variant cannot be steered
    /// so, or the system gives no threads.
    pub fn new(listener: Listener, served: Served<'a>, options: ServeOptions) -> Result<Self, ServeError> {
        let engine = Engine::new(served, options.limits)?;
        engine.check(&options.variants)?;
        let Listener { listener, gate, .. } = listener;
        let ServeOptions { limits, bos, template, variants, origin, tray, trainings, subjects } = options;
        let model = served.model;
        let books =
            served.dictionaries.iter().enumerate().map(|(at, dictionary)| Book::of(dictionary, engine.reads(at)));
        let shared = Arc::new(Shared {
            desk: Desk::new(limits.queue),
            gate,
            limits,
            card: card(served, template.is_ok()),
            fingerprint: format!("fp_{}", model.identity().weights_sha256.chars().take(12).collect::<String>()),
            vocabulary: model.vocab_size(),
            tokenizer: Arc::clone(model.shared_tokenizer()?),
            template,
            vectors: served.vectors.to_vec(),
            books: books.collect::<Result<_, _>>()?,
            variants,
            bos,
            origin,
            tray: tray.iter().map(ToString::to_string).collect(),
            trainings,
            subjects,
        });
        let mut runtime = Builder::new_multi_thread();
        runtime.worker_threads(THREADS).max_blocking_threads(ASIDE).enable_io().enable_time();
        let runtime = runtime.build().map_err(ServeError::Start)?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(ServeError::Start)?
        };
        Ok(Server { engine, shared, runtime, listener })
    }

    /// Answers requests until the observer asks to stop; the model runs on the calling thread.
    pub fn run(self, observer: &dyn Observer) {
        let Server { mut engine, shared, runtime, listener } = self;
        let open = Arc::new(GracefulShutdown::new());
        let ahead = Arc::clone(&shared);
        // What takes long to gather is there before somebody asks for it; where it is not, it is gathered then.
        runtime.spawn_blocking(move || ahead.books.iter().for_each(|book| drop(book.overview())));
        let accepting = runtime.spawn(accept(listener, router(Arc::clone(&shared)), Arc::clone(&open)));
        engine.run(&shared.desk, observer);
        runtime.block_on(async {
            // Nobody else is let in; what was written for those who are here is sent.
            accepting.abort();
            let _ = accepting.await;
            if let Some(open) = Arc::into_inner(open) {
                let _ = tokio::time::timeout(CLOSING, open.shutdown()).await;
            }
        });
        runtime.shutdown_background();
    }
}

/// What is told of the model.
fn card(served: Served<'_>, chat: bool) -> ModelCard {
    let dictionary = |dictionary: &untangle_interpret::Dictionary<'_>| DictionaryCard {
        name: dictionary.name.to_owned(),
        features: dictionary.sae().d_sae(),
        has_database: dictionary.database.is_some(),
    };
    ModelCard {
        id: served.model.identity().name,
        object: "model",
        created: now(),
        owned_by: "untangle",
        context_length: served.model.max_context(),
        chat,
        dictionaries: served.dictionaries.iter().map(dictionary).collect(),
        vectors: served.vectors.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
        steering: Vec::new(),
    }
}

/// What is answered where there are as many connections as there may be.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n\
    content-length: 116\r\n\r\n{\"error\":{\"message\":\"too many connections; try again in a moment\",\"type\":\"server_error\",\"param\":null,\"code\":\"busy\"}}";

/// Answers that there is no room, once something was asked, and lets the sender read it.
async fn turn_away(stream: TcpStream) {
    let talk = async {
        // What was asked is read before the end, or the system would take the answer back.
        stream.readable().await?;
        let _ = stream.try_read(&mut [0; 4096]);
        stream.writable().await?;
        stream.try_write(FULL)
    };
    // Whoever does not listen is not waited for.
    let _ = tokio::time::timeout(TURNED_AWAY, talk).await;
}

async fn accept(listener: tokio::net::TcpListener, router: Router, open: Arc<GracefulShutdown>) {
    let (room, queue) = (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(Semaphore::new(CONNECTIONS)));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // Pieces of an answer are small and are wanted at once.
        let _ = stream.set_nodelay(true);
        // Where there is room, it is given here and in the order of coming: tasks begin in any order.
        if let Ok(permit) = Arc::clone(&room).try_acquire_owned() {
            tokio::spawn(connection(stream, permit, router.clone(), Arc::clone(&open)));
        } else if let Ok(queued) = Arc::clone(&queue).try_acquire_owned() {
            tokio::spawn(wait(stream, queued, Arc::clone(&room), router.clone(), Arc::downgrade(&open)));
        } else {
            tokio::spawn(turn_away(stream));
        }
    }
}

/// Answers what comes over a connection as soon as there is room for it. Where there is none for a while, that is told rather than
/// have whoever asks wait behind those who may never finish what they began to say.
async fn wait(
    stream: TcpStream,
    queued: OwnedSemaphorePermit,
    room: Arc<Semaphore>,
    router: Router,
    open: Weak<GracefulShutdown>,
) {
    let Ok(Ok(permit)) = tokio::time::timeout(ROOM_TIME, room.acquire_owned()).await else {
        return turn_away(stream).await;
    };
    drop(queued);
    // Where the server is closing, nobody else is let in.
    if let Some(open) = open.upgrade() {
        connection(stream, permit, router, open).await;
    }
}

/// Answers what comes over a connection, which has room until then.
async fn connection(stream: TcpStream, permit: OwnedSemaphorePermit, router: Router, open: Arc<GracefulShutdown>) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let connection = open.watch(connection);
    // Whoever holds on to this keeps the server from asking connections to end.
    drop(open);
    // A connection that breaks off is its sender's affair.
    let _ = connection.await;
    drop(permit);
}
