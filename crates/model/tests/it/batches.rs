//! Laws of generation in batches: prompts of different lengths, settings of their own, text that ends at given words.

use crate::support::{FIXTURES, fixture};
use std::ops::ControlFlow;
use tch::Tensor;
use untangle_model::{
    Continuation, GenerateOptions, LanguageModel, ModelError, NoHook, Request, Sampling, StopReason, generate,
    generate_batch,
};

/// Prompts of different lengths, the same of one.
const RAGGED: [&[u32]; 4] = [&[3, 1, 4, 1, 5, 9], &[2], &[6, 5, 3], &[5, 8, 9, 7]];
const EVEN: [&[u32]; 4] = [&[3, 1, 4], &[2, 7, 1], &[6, 5, 3], &[5, 8, 9]];

/// Requests with settings of their own.
fn requests(prompts: [&[u32]; 4]) -> Vec<Request> {
    let samplings = [
        Sampling::GREEDY,
        Sampling { top_k: Some(5), ..Sampling::at(0.9) },
        Sampling { repetition_penalty: 1.5, min_p: Some(0.05), ..Sampling::at(1.3) },
        Sampling { top_p: Some(0.8), ..Sampling::at(1.0) },
    ];
    let request = |(number, (prompt, sampling)): (usize, (&[u32], Sampling))| Request {
        prompt: prompt.to_vec(),
        options: GenerateOptions {
            max_new_tokens: 5 + 3 * number,
            sampling,
            seed: 11 * number as u64,
            stop_at_eos: false,
        },
    };
    prompts.into_iter().zip(samplings).enumerate().map(request).collect()
}

fn together(model: &LanguageModel, requests: &[Request]) -> Vec<Continuation> {
    let mut heard = vec![Vec::new(); requests.len()];
    let found = generate_batch(model, requests, &mut NoHook, &mut |row, token| {
        heard[row].push(token);
        ControlFlow::Continue(())
    });
    let found = found.expect("generated");
    assert!(found.iter().zip(&heard).all(|(row, heard)| row.tokens == *heard), "every token of a row is told of");
    found
}

#[test]
fn a_batch_is_as_many_batches_of_one() {
    for name in FIXTURES {
        let model = fixture(name);
        for prompts in [RAGGED, EVEN].into_iter().skip(usize::from(model.long_text_border().is_some())) {
            let requests = requests(prompts);
            let found = together(&model, &requests);
            for (request, found) in requests.iter().zip(&found) {
                let alone = generate(&model, &request.prompt, &request.options, &mut NoHook, &mut |_| {});
                assert_eq!(alone.expect("generated"), *found, "{name}: {request:?}");
            }
        }
    }
}

#[test]
fn greedy_rows_of_a_ragged_batch_are_the_largest_logits_of_uncached_passes() {
    for name in FIXTURES {
        let model = fixture(name);
        if model.long_text_border().is_some() {
            continue;
        }
        let options = GenerateOptions { max_new_tokens: 6, sampling: Sampling::GREEDY, seed: 0, stop_at_eos: false };
        let requests: Vec<Request> = RAGGED.map(|prompt| Request { prompt: prompt.to_vec(), options }).into();
        for (request, found) in requests.iter().zip(together(&model, &requests)) {
            let mut ids: Vec<i64> = request.prompt.iter().map(|id| i64::from(*id)).collect();
            for _ in 0..6 {
                let logits = model.forward(&Tensor::from_slice(&ids).unsqueeze(0), &mut NoHook).unwrap().unwrap();
                ids.push(logits.select(1, -1).argmax(-1, false).int64_value(&[0]));
            }
            let expected: Vec<u32> = ids[request.prompt.len()..].iter().map(|id| *id as u32).collect();
            assert_eq!(found.tokens, expected, "{name}: {:?}", request.prompt);
        }
    }
}

#[test]
fn rows_fill_their_own_context() {
    // The shortest prompt goes on after the longest has filled its context.
    let model = fixture("gpt2");
    let context = model.max_context();
    let options =
        GenerateOptions { max_new_tokens: 2 * context, sampling: Sampling::GREEDY, seed: 0, stop_at_eos: false };
    let prompts = [vec![1; context - 2], vec![2; context], vec![3; context - 9]];
    let requests: Vec<Request> = prompts.into_iter().map(|prompt| Request { prompt, options }).collect();
    for (request, found) in requests.iter().zip(together(&model, &requests)) {
        assert_eq!((found.tokens.len(), found.stop), (context + 1 - request.prompt.len(), StopReason::ContextFull));
        let alone = generate(&model, &request.prompt, &options, &mut NoHook, &mut |_| {}).expect("generated");
        assert_eq!(alone, found);
    }
}

#[test]
fn texts_that_would_outgrow_short_angles_pass_in_batches_of_one_length() {
    let model = fixture("phi3");
    let border = model.long_text_border().expect("LongRoPE");
    let of = |lengths: [usize; 2], max_new_tokens: usize| {
        let options = GenerateOptions { max_new_tokens, sampling: Sampling::GREEDY, seed: 0, stop_at_eos: false };
        let requests: Vec<Request> = lengths.map(|n| Request { prompt: vec![1; n], options }).into();
        let found = generate_batch(&model, &requests, &mut NoHook, &mut |_, _| ControlFlow::Continue(()))?;
        for (request, found) in requests.iter().zip(found) {
            let alone = generate(&model, &request.prompt, &options, &mut NoHook, &mut |_| {})?;
            assert_eq!(alone, found, "{lengths:?}");
        }
        Ok::<(), ModelError>(())
    };
    assert!(of([border - 1, border - 1], 4).is_ok() && of([1, border - 2], 2).is_ok());
    let message = of([1, border - 2], 3).expect_err("one may grow beyond").to_string();
    assert!(
        message.contains("of different lengths") && message.contains(&format!("beyond {border} tokens")),
        "{message}"
    );
}

#[test]
fn a_row_whose_listener_wants_no_more_ends_and_the_others_go_on() {
    let model = fixture("llama");
    let requests = requests(RAGGED);
    let whole = together(&model, &requests);
    let mut heard = 0;
    let found = generate_batch(&model, &requests, &mut NoHook, &mut |row, _| {
        heard += usize::from(row == 2);
        if row == 2 && heard == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let found = found.expect("generated");
    assert_eq!((found[2].stop, &found[2].tokens[..]), (StopReason::Cancelled, &whole[2].tokens[..3]));
    assert!([0, 1, 3].iter().all(|row| found[*row] == whole[*row]));
}

#[test]
fn what_cannot_be_generated_is_refused() {
    let model = fixture("gpt2");
    let refused = |requests: &[Request]| {
        generate_batch(&model, requests, &mut NoHook, &mut |_, _| ControlFlow::Continue(())).map(drop)
    };
    assert!(refused(&[]).is_ok(), "nothing is easily done");
    let mut bad = requests(RAGGED);
    bad[3].prompt.clear();
    assert!(refused(&bad).expect_err("empty").to_string().contains("prompt"));
    bad[3].prompt = vec![1; model.max_context() + 1];
    assert!(matches!(refused(&bad), Err(ModelError::ContextExceeded { .. })));
    bad[3].prompt = vec![1];
    for (what, sampling) in [
        ("min_p", Sampling { min_p: Some(-0.1), ..Sampling::GREEDY }),
        ("repetition_penalty", Sampling { repetition_penalty: f64::NAN, ..Sampling::GREEDY }),
    ] {
        bad[3].options.sampling = sampling;
        assert!(refused(&bad).expect_err(what).to_string().contains(what));
    }
}
