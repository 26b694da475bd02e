//! The promises of the planner, on histograms of all kinds.

use proptest::prelude::*;

use super::*;

fn limits(max_length: usize, batch_tokens: usize) -> PlanLimits {
    PlanLimits { max_length, batch_tokens, batch_rows: 4_096, step: 1, profiles: MAX_PROFILES }
}

/// Full batches of these lengths, each so many times.
fn full_batches(limits: &PlanLimits, lengths: &[(usize, usize)]) -> ShapeHistogram {
    let mut histogram = ShapeHistogram::default();
    for &(length, times) in lengths {
        (0..times).for_each(|_| histogram.add(BatchShape::new(limits.rows_at(length), length)));
    }
    histogram
}

fn ranges(plan: &EnginePlan) -> Vec<(usize, usize)> {
    plan.profiles.iter().map(|profile| (profile.min.columns, profile.max.columns)).collect()
}

#[test]
fn without_any_text_memory_alone_asks_for_cuts() {
    let plan = plan_profiles(&ShapeHistogram::default(), limits(512, 16_384)).unwrap();
    assert_eq!(plan.distance, 0.0);
    assert!(plan.profiles.len() == 4 && plan.reserve <= 4.0, "{plan:?}");
    // Twice as much memory for an engine, where that many engines are not allowed.
    let few = PlanLimits { profiles: 1, ..limits(512, 16_384) };
    let plan = plan_profiles(&ShapeHistogram::default(), few).unwrap();
    assert_eq!(ranges(&plan), [(1, 512)]);
    assert_eq!(plan.profiles[0].max, BatchShape::new(4_096, 512));
    assert_eq!(plan.reserve, 128.0);
}

#[test]
fn engines_are_tuned_for_what_the_corpus_makes() {
    let limits = limits(512, 16_384);
    let histogram = full_batches(&limits, &[(20, 30), (24, 10), (250, 100), (512, 1)]);
    let plan = plan_profiles(&histogram, limits).unwrap();
    let of = |length: usize| {
        let fits = |profile: &&ShapeProfile| profile.contains(BatchShape::new(1, length));
        *plan.profiles.iter().find(fits).unwrap()
    };
    assert_eq!(of(20).opt, BatchShape::new(16_384 / 20, 20));
    assert_eq!(of(250).opt, BatchShape::new(65, 250));
    assert_ne!(of(20), of(250));
    assert!(plan.distance < 0.06, "{}", plan.distance);
    let one = plan_profiles(&histogram, PlanLimits { profiles: 1, ..limits }).unwrap();
    assert_eq!(one.profiles[0].opt.columns, 250, "where most tokens are");
    assert!(one.distance > 0.8, "{}", one.distance);
}

#[test]
fn batches_that_are_not_full_tune_for_as_many_texts_as_they_have() {
    let limits = limits(128, 1_200);
    let of = |histogram: &ShapeHistogram, length: usize| {
        let plan = plan_profiles(histogram, limits).unwrap();
        let fits = |profile: &&ShapeProfile| profile.contains(BatchShape::new(1, length));
        plan.profiles.iter().find(fits).unwrap().opt
    };
    let mut histogram = ShapeHistogram::default();
    [3, 4, 5].into_iter().for_each(|rows| histogram.add(BatchShape::new(rows, 100)));
    assert_eq!(of(&histogram, 100), BatchShape::new(4, 100));
    // One short text among very many long ones: its engine is for full batches all the same.
    (0..1_000).for_each(|_| histogram.add(BatchShape::new(4, 100)));
    histogram.add(BatchShape::new(1, 10));
    assert_eq!((of(&histogram, 100).rows, of(&histogram, 10)), (4, BatchShape::new(120, 10)));
}

#[test]
fn what_no_plan_can_be_made_for_is_refused() {
    let refused = |limits| plan_profiles(&ShapeHistogram::default(), limits).unwrap_err();
    let error = refused(limits(0, 512));
    assert_eq!(error.to_string(), "engines are planned for inputs of 1 to 1048576 tokens, the bundle's longest has 0");
    assert!(refused(limits((1 << 20) + 1, usize::MAX)).to_string().ends_with("the bundle's longest has 1048577"));
    let error = refused(limits(512, 511));
    assert_eq!(
        error.to_string(),
        "`--max-batch-tokens 511` is below the longest input (max length 512), so such a paper would fit in no batch"
    );
    assert!(error.hint().unwrap().starts_with("raise `--max-batch-tokens` to 512 or more"));
    assert!(plan_profiles(&ShapeHistogram::default(), limits(1 << 20, 1 << 20)).is_ok());
    let none = PlanLimits { profiles: 0, ..limits(8, 8) };
    assert_eq!(plan_profiles(&ShapeHistogram::default(), none).unwrap().profiles.len(), 1);
}

#[test]
fn a_run_fits_in_a_plan_that_was_made_for_all_its_widths() {
    let plan = PlanLimits { step: 8, ..limits(512, 16_384) };
    assert!(plan.fits_in(&plan));
    assert!(PlanLimits { max_length: 256, batch_tokens: 1_024, ..plan }.fits_in(&plan));
    for other in [
        PlanLimits { max_length: 520, ..plan },
        PlanLimits { max_length: 250, ..plan },
        PlanLimits { batch_tokens: 16_385, ..plan },
        PlanLimits { batch_rows: 4_097, ..plan },
        PlanLimits { step: 1, ..plan },
    ] {
        assert!(!other.fits_in(&plan), "{other:?}");
    }
}

/// The least distance of `count` ranges of any ends, by trying all.
fn least(lengths: &Lengths, first: usize, count: usize) -> f64 {
    let longest = lengths.share.len() - 1;
    if count == 1 {
        return lengths.distance(first, longest);
    }
    let cut = |last: usize| lengths.distance(first, last) + least(lengths, last + 1, count - 1);
    (first..longest).map(cut).fold(f64::INFINITY, f64::min)
}

proptest! {
    #[test]
    fn every_batch_lies_in_exactly_one_profile(
        max_length in 1_usize..2_000,
        extra in 0_usize..40_000,
        batch_rows in 1_usize..5_000,
        profiles in 0_usize..12,
        step in prop::sample::select(vec![1_usize, 8, 16]),
        shapes in prop::collection::vec((1_usize..5_000, 1_usize..2_000), 0..60),
    ) {
        let limits = PlanLimits { max_length, batch_tokens: max_length + extra, batch_rows, step, profiles };
        let mut histogram = ShapeHistogram::default();
        shapes.iter().for_each(|&(rows, columns)| histogram.add(BatchShape::new(rows, columns)));
        let plan = plan_profiles(&histogram, limits).unwrap();
        prop_assert!((1..=profiles.clamp(1, MAX_PROFILES)).contains(&plan.profiles.len()));
        prop_assert_eq!(plan.profiles[0].min.columns, step.min(max_length), "nothing narrower is made");
        prop_assert_eq!(plan.profiles[plan.profiles.len() - 1].max.columns, max_length);
        for pair in plan.profiles.windows(2) {
            prop_assert_eq!(pair[0].max.columns + 1, pair[1].min.columns);
        }
        for profile in &plan.profiles {
            prop_assert!(profile.contains(profile.opt) && profile.min.rows == 1, "{}", profile);
            prop_assert!([profile.opt, profile.max].iter().all(|shape| limits.width(shape.columns) == shape.columns));
        }
        for columns in (1..=max_length).filter(|&columns| limits.width(columns) == columns) {
            for rows in [1, limits.rows_at(columns)] {
                let shape = BatchShape::new(rows, columns);
                let fitting = plan.profiles.iter().filter(|profile| profile.contains(shape)).count();
                prop_assert_eq!(fitting, 1, "{} in {:?}", shape, plan);
            }
        }
        prop_assert_eq!(plan_profiles(&histogram, limits).unwrap(), plan);
    }

    #[test]
    fn memory_is_bounded_where_eight_engines_allow_it(max_length in 1_usize..9_000, times in 1_usize..40) {
        let limits = limits(max_length, max_length.max(16_384) + times);
        let histogram = full_batches(&limits, &[(max_length, times), (max_length.div_ceil(3), 5 * times)]);
        let plan = plan_profiles(&histogram, limits).unwrap();
        prop_assert!(plan.reserve <= RESERVE as f64, "{:?}", plan);
    }

    #[test]
    fn no_other_cuts_of_as_few_ranges_are_nearer(
        tokens in prop::collection::vec((1_usize..15, 1_usize..20), 1..12),
        profiles in 1_usize..4,
    ) {
        // Up to 15 tokens every length is a place for a cut, and so many texts that memory asks for none.
        let limits = PlanLimits { max_length: 15, batch_tokens: 600, batch_rows: 160, step: 1, profiles };
        let histogram = full_batches(&limits, &tokens);
        let plan = plan_profiles(&histogram, limits).unwrap();
        let lengths = Lengths::new(&histogram, 15);
        let found: f64 = ranges(&plan).into_iter().map(|(first, last)| lengths.distance(first, last)).sum();
        prop_assert!((found - plan.distance).abs() < 1e-9);
        let best = least(&lengths, 1, plan.profiles.len());
        prop_assert!(plan.distance <= best + 1e-9, "{} against {best}", plan.distance);
        // More ranges are not worth their engines.
        for more in plan.profiles.len() + 1..=profiles {
            let gain = plan.distance - least(&lengths, 1, more);
            prop_assert!(gain <= WORTH_AN_ENGINE * (more - plan.profiles.len()) as f64 + 1e-9, "{gain}");
        }
    }
}
