//! Names of providers, what each is told, and what is refused.

use super::*;

#[test]
fn a_provider_is_named_as_users_and_as_onnx_runtime_name_it() {
    for choice in ProviderChoice::ALL {
        for name in [choice.name(), choice.resolve(), &choice.name().to_uppercase()] {
            assert_eq!(name.parse::<Provider>().unwrap(), choice.into(), "{name}");
        }
    }
    let second: Provider = "CUDAExecutionProvider:1".parse().unwrap();
    assert_eq!((second.choice, &second.devices[..]), (ProviderChoice::Cuda, &[1][..]));
    assert_eq!(second.to_string(), "cuda:1");
    assert_eq!("tensorrt:0".parse::<Provider>().unwrap().to_string(), "tensorrt:0");
}

#[test]
fn sessions_take_several_devices_in_turns() {
    let several: Provider = "cuda:2, 0".parse().unwrap();
    assert_eq!((several.to_string(), several.least_sessions(), several.first_device()), ("cuda:2,0".to_owned(), 2, 2));
    let told: Vec<String> = (0..3).map(|place| pairs(&several.of_session(place).settings(1))).collect();
    assert_eq!(told, ["device_id=2 use_tf32=0", "device_id=0 use_tf32=0", "device_id=2 use_tf32=0"]);
    assert_eq!(several.of_session(1).options_in_words(), "`device_id=0`");
    let one: Provider = "cuda".parse().unwrap();
    assert_eq!((one.of_session(5), one.least_sessions(), one.first_device()), (one.clone(), 1, 0));
    assert_eq!(one.options_in_words(), "");
    let twice = "cuda:1,0,1".parse::<Provider>().unwrap_err();
    assert_eq!(twice.to_string(), "`--provider` names `cuda:1` twice");
}

#[test]
fn what_is_not_known_is_refused_with_what_is() {
    for name in ["gpu", "", "gpu:0", "auto "] {
        let error = name.parse::<Provider>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("execution provider `{name}` is not known, known are: auto, ")), "{error}");
    }
    for (word, expected) in [
        ("cuda:", "`cuda` has devices 0, 1 and so on, got ``"),
        ("cuda:x", "`cuda` has devices 0, 1 and so on, got `x`"),
        ("cuda:0,", "`cuda` has devices 0, 1 and so on, got ``"),
        ("cuda:-1", "`cuda` has devices 0, 1 and so on, got `-1`"),
        ("tensorrt:3000000000", "`tensorrt` has devices 0, 1 and so on, got `3000000000`"),
        ("cpu:0,1", "`cpu` has no devices to choose from, got `0`"),
        ("openvino:GPU", "`openvino` has no devices to choose from, got `GPU`"),
    ] {
        let error = word.parse::<Provider>().unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.hint().is_some(), word.starts_with("openvino"), "{word}");
    }
}

#[test]
fn a_library_serves_the_choices_whose_provider_it_has() {
    let has = |choices: &[ProviderChoice]| {
        let providers: Vec<String> = choices.iter().map(|choice| choice.resolve().to_owned()).collect();
        ProviderChoice::served_by(&providers).join(" ")
    };
    assert_eq!(has(&[ProviderChoice::Cpu]), "auto cpu");
    assert_eq!(has(&[ProviderChoice::OpenVino, ProviderChoice::Cpu]), "auto cpu openvino");
    assert_eq!(has(&[ProviderChoice::TensorRt, ProviderChoice::Cuda, ProviderChoice::Cpu]), "auto cpu cuda tensorrt");
}

fn provider(word: &str, options: &[(&str, &str)]) -> Provider {
    let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Provider { options, ..word.parse().unwrap() }
}

fn pairs(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn fp32_is_fp32_where_nothing_is_said_and_options_overrule() {
    assert_eq!(pairs(&provider("cuda", &[]).settings(4)), "device_id=0 use_tf32=0");
    assert_eq!(pairs(&provider("cuda:3", &[]).settings(4)), "device_id=3 use_tf32=0");
    assert_eq!(pairs(&provider("tensorrt:1", &[]).settings(4)), "device_id=1");
    assert_eq!(pairs(&provider("openvino", &[]).settings(4)), "device_type=CPU precision=FP32 num_of_threads=4");
    let told = provider("cuda:1", &[("use_tf32", "1"), ("gpu_mem_limit", "9"), ("use_tf32", "0")]);
    assert_eq!(pairs(&told.settings(1)), "device_id=1 gpu_mem_limit=9 use_tf32=0", "the last one counts");
    assert_eq!(provider("cpu", &[]).settings(4), []);
}

#[test]
fn an_option_counts_among_the_numerics_unless_it_is_known_to_leave_numbers_alone() {
    let told = [("use_tf32", "1"), ("gpu_mem_limit", "9"), ("sdpa_kernel", "1")];
    assert_eq!(pairs(&provider("cuda", &told).numerics()), "use_tf32=1 sdpa_kernel=1");
    assert_eq!(provider("cuda", &[("use_tf32", "0"), ("device_id", "2")]).numerics(), [], "what it is told anyway");
    assert_eq!(
        pairs(&provider("openvino", &[("num_of_threads", "7"), ("precision", "FP16")]).numerics()),
        "precision=FP16"
    );
}

#[test]
fn only_the_cpu_provider_is_allowed_no_difference() {
    assert_eq!((tolerance("CPUExecutionProvider", Precision::Fp32), tolerance("stub", Precision::Fp16)), (0.0, 0.0));
    assert_eq!(tolerance("OpenVINOExecutionProvider", Precision::Fp16), TOLERANCE);
    assert_eq!(tolerance("CUDAExecutionProvider", Precision::Fp32), TOLERANCE);
    assert_eq!(tolerance("CUDAExecutionProvider", Precision::Fp16), HALF_TOLERANCE);
}

#[test]
fn an_accelerator_gets_larger_batches() {
    let tokens = ProviderChoice::ALL.map(ProviderChoice::batch_tokens);
    assert_eq!(tokens, [1_024, 16_384, 16_384, 1_024, 16_384, 16_384]);
}
