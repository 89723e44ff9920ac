//! The server in one process, on a small random model: every text is what the library makes of it alone, whoever is beside it.

#![allow(clippy::unwrap_used, reason = "it is a test")]

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use untangle_interpret::{Dictionary, Spec, Steering, resolve};
use untangle_model::threads::give_this_thread;
use untangle_model::{
    GenerateOptions, LanguageModel, LoadOptions, ModelConfig, Sampling, TextRequest, Tokenizer, TokenizerFiles,
    generate_texts,
};
use untangle_schema::{BosPolicy, Event, Observer};
use untangle_serve::{Limits, Listener, ServeOptions, Served, Server};

/// A model of sixty-four letters, each a token.
fn model() -> LanguageModel {
    let letters = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['.', ',']);
    let vocab: serde_json::Map<String, Value> =
        letters.enumerate().map(|(id, letter)| (letter.to_string(), json!(id))).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "added_tokens": [],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": []}
    });
    let config = json!({"model_type": "llama", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 96, "eos_token_id": null,
        "bos_token_id": null});
    let config = ModelConfig::from_json("config.json".as_ref(), config.to_string().as_bytes()).unwrap();
    let tokenizer = Tokenizer::new(&TokenizerFiles::in_memory(tokenizer.to_string().as_bytes()), &config).unwrap();
    LanguageModel::random(config, 3, Some(tokenizer), &LoadOptions::default()).unwrap()
}

/// Stops the server when its clients are done.
#[derive(Default)]
struct Stop(AtomicBool);

impl Observer for Stop {
    fn event(&self, _: Event<'_>) {}

    fn interrupted(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Has the server end when its clients are done, or one of them fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs a server while clients ask; what they found.
fn serving<T: Send>(limits: Limits, clients: impl FnOnce(SocketAddr) -> T + Send) -> T {
    // More threads would wait for each other over products as small as these.
    give_this_thread(1);
    let model = model();
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), None).unwrap();
    let (address, stop) = (listener.address(), Stop::default());
    let served = Served { model: &model, dictionaries: &[] as &[Dictionary<'_>], vectors: &[] };
    let template = Err("this model does not reply".to_owned());
    let options = ServeOptions {
        limits,
        bos: BosPolicy::Auto,
        template,
        variants: Default::default(),
        origin: Default::default(),
        tray: Vec::new(),
        trainings: None,
        subjects: None,
    };
    let server = Server::new(listener, served, options).unwrap();
    let found = thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let _end = Ends(&stop.0);
            clients(address)
        });
        server.run(&stop);
        clients.join().unwrap()
    });
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    found
}

/// Status and body of an answer.
fn ask(address: SocketAddr, path: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::String(body.to_owned())))
}

const STEPS: [&str; 4] = [
    "",
    "token 'a' in blocks.0.hook_resid_post:add-direction=2n",
    "token 'B' in blocks.1.hook_resid_post:add-direction=3 at generated",
    "token 'c' in blocks.0.hook_resid_post:project-out at prompt[-1]",
];

#[test]
fn texts_that_are_served_together_are_what_the_library_writes_alone() {
    let model = model();
    let case = |number: usize| {
        let prompt: String = "The quick brown fox"
            .chars()
            .filter(|c| *c != ' ')
            .cycle()
            .skip(number)
            .take(1 + 5 * (number % 7))
            .collect();
        (prompt, STEPS[number % STEPS.len()], 3 + number % 40, number as u64)
    };
    let alone = |(prompt, steps, max_new_tokens, seed): &(String, &str, usize, u64)| {
        let specs: Vec<Spec> = if steps.is_empty() { Vec::new() } else { vec![steps.parse().unwrap()] };
        let steps = resolve(&specs, &model, &[]).unwrap();
        let sampling = Sampling { top_k: Some(20), ..Sampling::at(0.9) };
        let options = GenerateOptions { max_new_tokens: *max_new_tokens, sampling, seed: *seed, stop_at_eos: true };
        let prompt = model.tokenizer().unwrap().encode(prompt).unwrap();
        let request = TextRequest { prompt, options, stop: vec!["zq".to_owned()] };
        let mut hook = Steering::new(&model, &[], &steps).unwrap();
        generate_texts(&model, &[request], &mut hook, &mut |_, _| ControlFlow::Continue(())).unwrap().remove(0).text
    };
    let found: Vec<String> = serving(Limits { batch: 5, ..Limits::default() }, |address| {
        thread::scope(|scope| {
            let one = |number: usize| {
                let (prompt, steps, max_tokens, seed) = case(number);
                let steering = if steps.is_empty() { json!([]) } else { json!([steps]) };
                let body = json!({"prompt": prompt, "steering": steering, "max_tokens": max_tokens, "seed": seed,
                    "temperature": 0.9, "top_k": 20, "stop": "zq", "logprobs": if number.is_multiple_of(3) { Some(1) } else { None },
                    "echo": number.is_multiple_of(2)});
                let (status, answer) = ask(address, "/v1/completions", &body);
                assert_eq!(status, 200, "{answer}");
                let text = answer["choices"][0]["text"].as_str().unwrap();
                if number.is_multiple_of(2) {
                    text.strip_prefix(prompt.as_str()).unwrap().to_owned()
                } else {
                    text.to_owned()
                }
            };
            let all: Vec<_> = (0..40).map(|number| scope.spawn(move || one(number))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        })
    });
    for (number, found) in found.iter().enumerate() {
        assert_eq!(*found, alone(&case(number)), "{:?}", case(number));
    }
}

#[test]
fn a_text_without_numbers_ends_its_own_request_alone() {
    serving(Limits::default(), |address| {
        let beside = json!({"prompt": "abc", "max_tokens": 60, "temperature": 0});
        let (_, alone) = ask(address, "/v1/completions", &beside);
        // A billion times as long at every place: by the last, no number is left that holds it.
        let step = |at: &str| json!({"token": "a", "in": at, "add-direction": "1e9n"});
        let block = |n: usize| ["pre", "mid", "post"].map(|site| step(&format!("blocks.{n}.hook_resid_{site}")));
        let steps = [block(0), block(1)].concat();
        let absurd = json!({"prompt": "abc", "steering": steps});
        thread::scope(|scope| {
            let good: Vec<_> = (0..4).map(|_| scope.spawn(|| ask(address, "/v1/completions", &beside))).collect();
            let (status, answer) = ask(address, "/v1/completions", &absurd);
            assert_eq!((status, &answer["error"]["code"]), (400, &json!("not_finite")), "{answer}");
            for good in good {
                assert_eq!(good.join().unwrap().1["choices"], alone["choices"]);
            }
        });
        let (status, answer) =
            ask(address, "/v1/chat/completions", &json!({"messages": [{"role": "user", "content": "x"}]}));
        assert_eq!((status, &answer["error"]["message"]), (400, &json!("this model does not reply")), "{answer}");
    });
}

#[test]
fn what_waits_is_told_when_the_server_ends() {
    let begun = Instant::now();
    let reading = serving(Limits { batch: 1, queue: 200, max_tokens: None }, |address| {
        let body = json!({"prompt": "abc", "max_tokens": 90, "n": 100, "stream": true}).to_string();
        let mut stream = TcpStream::connect(address).unwrap();
        let head = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
        stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
        let mut first = [0; 1];
        stream.read_exact(&mut first).unwrap();
        thread::spawn(move || {
            let mut rest = String::new();
            stream.read_to_string(&mut rest).unwrap();
            rest
        })
    });
    let rest = reading.join().unwrap();
    assert!(rest.contains("shutting_down") && !rest.contains("[DONE]"), "{rest}");
    assert!(begun.elapsed() < Duration::from_secs(20));
}
