//! The search with providers that are made up: what each one says when it is asked to open a graph.

use std::cell::RefCell;

use super::*;

/// Searches `words`; `refused` are the providers that can't open the graph. Gives what ran, and who was asked.
fn search(
    words: &str,
    (precision, fallback): (Precision, Option<Fallback>),
    refused: &[&str],
) -> (Result<(String, Selection), Error>, Vec<String>) {
    let providers: ProviderList = words.parse().unwrap();
    let built_in = ["CUDAExecutionProvider".to_owned(), "CPUExecutionProvider".to_owned()];
    let asked = RefCell::new(Vec::new());
    let open = |provider: &Provider| {
        asked.borrow_mut().push(provider.to_string());
        if refused.contains(&provider.to_string().as_str()) {
            let file = format!("/lib/{}.so", provider.choice).into();
            return Err(Refusal::NoLibrary { provider: provider.choice, file }.into());
        }
        Ok(provider.to_string())
    };
    let result = first_usable(Wanted { providers: &providers, precision, fallback }, &built_in, open);
    (result, asked.into_inner())
}

const PLAIN: (Precision, Option<Fallback>) = (Precision::Fp32, None);

#[test]
fn the_first_that_can_runs_and_those_before_it_are_named_with_their_reason() {
    let (found, asked) = search("cuda:1,openvino,cpu", PLAIN, &["cuda:1"]);
    let (ran, selection) = found.unwrap();
    assert_eq!((ran.as_str(), asked), ("openvino", vec!["cuda:1".to_owned(), "openvino".to_owned()]));
    assert_eq!(selection.provider.unwrap().choice, ProviderChoice::OpenVino);
    let reason = "`CUDAExecutionProvider` cannot be used: there is no `/lib/cuda.so`".to_owned();
    assert_eq!(selection.passed_over, [PassedOver { provider: "cuda:1".to_owned(), reason }]);
    assert_eq!(selection.because, None);
}

#[test]
fn where_none_can_each_one_is_a_cause_and_a_single_one_keeps_its_own_error() {
    let error = search("cuda,openvino", PLAIN, &["cuda", "openvino"]).0.unwrap_err();
    assert_eq!(error.to_string(), "none of the providers that `--provider cuda,openvino` may take can be used");
    let first = std::error::Error::source(&error).unwrap();
    assert!(first.to_string().starts_with("`cuda`: `CUDAExecutionProvider` cannot be used"), "{first}");
    assert!(first.source().unwrap().to_string().starts_with("`openvino`: "));
    let single = search("cuda", PLAIN, &["cuda"]).0.unwrap_err();
    assert_eq!(single.to_string(), "`CUDAExecutionProvider` cannot be used: there is no `/lib/cuda.so`");
}

#[test]
fn what_is_no_providers_reason_ends_the_search() {
    let providers: ProviderList = "cuda,cpu".parse().unwrap();
    let wanted = Wanted { providers: &providers, precision: Precision::Fp32, fallback: Some(Fallback::Allow) };
    let mut asked = 0;
    let result: Result<((), Selection), Error> = first_usable(wanted, &[], |_| {
        asked += 1;
        Err(Error::GraphMissing { path: "model.onnx".into() })
    });
    assert!(matches!(result, Err(Error::GraphMissing { .. })) && asked == 1);
}

#[test]
fn auto_takes_a_card_only_where_it_can_be_used_and_says_why() {
    let (found, asked) = search("auto", PLAIN, &[]);
    let (ran, selection) = found.unwrap();
    assert_eq!((ran.as_str(), asked.len()), ("cuda", 1));
    assert_eq!(selection.because.unwrap(), "auto: a usable graphics card; `--provider cpu` keeps every bit");
    let (ran, selection) = search("auto", PLAIN, &["cuda"]).0.unwrap();
    assert_eq!(ran, "cpu");
    let because = selection.because.unwrap();
    let expected = "auto: the provider that keeps every bit; cuda: `CUDAExecutionProvider` cannot be used: there is no";
    assert!(because.starts_with(expected), "{because}");
    let (found, asked) = search("auto", (Precision::Int8, None), &[]);
    assert_eq!(
        (found.unwrap().1.because.unwrap().as_str(), asked),
        ("auto: the provider that int8 is made for", vec!["cpu".to_owned()])
    );
    let providers = ProviderList::default();
    let wanted = Wanted { providers: &providers, precision: Precision::Fp32, fallback: None };
    let cpu_alone = ["OpenVINOExecutionProvider".to_owned(), "CPUExecutionProvider".to_owned()];
    let (ran, selection) = first_usable(wanted, &cpu_alone, |provider| Ok(provider.to_string())).unwrap();
    assert_eq!((ran.as_str(), selection.because.as_deref()), ("cpu", Some("auto: the provider that keeps every bit")));
}

#[test]
fn only_what_was_allowed_falls_back_to_the_cpu_provider() {
    for fallback in [Fallback::Warn, Fallback::Allow] {
        let (ran, selection) = search("cuda", (Precision::Fp32, Some(fallback)), &["cuda"]).0.unwrap();
        assert_eq!((ran.as_str(), selection.passed_over.len()), ("cpu", 1));
    }
    assert!(search("cuda", (Precision::Fp32, Some(Fallback::Error)), &["cuda"]).0.is_err());
    let changed = "cuda".parse::<ProviderList>().unwrap().with_options(&["use_tf32=1".to_owned()]).unwrap();
    let wanted = Wanted { providers: &changed, precision: Precision::Fp32, fallback: Some(Fallback::Allow) };
    let refuse = |_: &Provider| -> Result<(), Error> { Err(Refusal::Tf32.into()) };
    assert!(first_usable(wanted, &[], refuse).is_err(), "its numbers are cached as those of TF32");
}

#[test]
fn int8_is_refused_on_all_but_the_cpu_provider_whatever_is_allowed() {
    for fallback in [None, Some(Fallback::Warn), Some(Fallback::Allow)] {
        assert_eq!(search("cpu", (Precision::Int8, fallback), &[]).0.unwrap().0, "cpu");
        let (found, asked) = search("openvino", (Precision::Int8, fallback), &[]);
        let error = found.unwrap_err();
        let expected = "the bundle computes in int8, which is made for `CPUExecutionProvider`; `--provider openvino` \
                        would give other vectors";
        assert_eq!((error.to_string().as_str(), asked.len()), (expected, 0));
        assert_eq!(error.hint().unwrap(), "`--provider cpu`, or export it with `--precision fp32` for this provider");
    }
    let (ran, selection) = search("openvino,cpu", (Precision::Int8, None), &[]).0.unwrap();
    assert_eq!((ran.as_str(), selection.passed_over.len()), ("cpu", 1));
}

#[test]
fn fp16_is_refused_on_the_cpu_provider_also_where_auto_chose_it() {
    let can = |words, fallback, refused: &[&str]| search(words, (Precision::Fp16, fallback), refused).0;
    for words in ["auto", "cpu"] {
        let refused = ["cuda"];
        assert!(can(words, None, &refused).is_err() && can(words, Some(Fallback::Error), &refused).is_err());
        assert!(
            can(words, Some(Fallback::Warn), &refused).is_ok() && can(words, Some(Fallback::Allow), &refused).is_ok()
        );
    }
    assert!(can("openvino", None, &[]).is_ok() && can("auto", None, &[]).is_ok());
    let error = can("cpu", None, &[]).unwrap_err();
    let expected = "the bundle computes in fp16, and `CPUExecutionProvider` (chosen by `--provider cpu`) would turn \
                    every step into fp32 and back";
    assert_eq!(error.to_string(), expected);
    let hint = error.hint().unwrap();
    assert!(hint.starts_with("export it with `--precision fp32` for this machine"), "{hint}");
    assert!(hint.contains("`--fallback warn`"), "{hint}");
    for words in ["cuda,cpu", "cuda,openvino"] {
        let error = can(words, None, &["cuda", "openvino"]).unwrap_err();
        let expected = format!("none of the providers that `--provider {words}` may take can be used");
        assert_eq!((error.to_string(), error.hint().as_ref()), (expected, Some(&hint)));
        assert_eq!(can(words, Some(Fallback::Warn), &["cuda", "openvino"]).unwrap().0, "cpu", "the hint holds");
    }
    let fp32 = search("cuda,openvino", PLAIN, &["cuda", "openvino"]).0.unwrap_err();
    assert_eq!(fp32.hint().unwrap(), "`--provider cpu` is always there");
}

#[test]
fn fp32_is_refused_on_tensorrt_while_it_would_be_cut() {
    if std::env::var_os("NVIDIA_TF32_OVERRIDE").is_some() {
        return;
    }
    let (found, asked) = search("tensorrt", PLAIN, &[]);
    let error = found.unwrap_err();
    assert!(error.to_string().contains("fp32, which `TensorrtExecutionProvider` cuts to TF32"), "{error}");
    assert!(error.hint().unwrap().starts_with("`NVIDIA_TF32_OVERRIDE=0 offprint ...`") && asked.is_empty());
    assert!(search("tensorrt", (Precision::Fp16, None), &[]).0.is_ok());
}
