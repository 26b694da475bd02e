use super::*;

/// Groups whose losses add up, each with the time that it saves of 1.
struct Sums {
    losses: Vec<f64>,
    savings: Vec<f64>,
    asked: usize,
}

impl Judge for Sums {
    type Error = std::convert::Infallible;

    fn alone(&mut self, group: usize) -> Result<Cosines, Self::Error> {
        Ok(self.lost(&[group]))
    }

    fn together(&mut self, groups: &[usize]) -> Result<Cosines, Self::Error> {
        self.asked += 1;
        Ok(self.lost(groups))
    }

    fn speed(&mut self, groups: &[usize]) -> Result<f64, Self::Error> {
        Ok(1.0 / (1.0 - groups.iter().map(|&group| self.savings[group]).sum::<f64>()))
    }
}

impl Sums {
    fn lost(&self, groups: &[usize]) -> Cosines {
        let loss: f64 = groups.iter().map(|&group| self.losses[group]).sum();
        Cosines { min: 1.0 - loss, mean: 1.0 - loss / 4.0 }
    }
}

const WANTED: Wanted = Wanted { point: PointName::Default, least: 0.998 };

fn names(curve: &[Point]) -> Vec<Vec<&'static str>> {
    curve.iter().map(|point| point.names.iter().map(|name| name.name()).collect()).collect()
}

#[test]
fn groups_come_by_their_loss_for_the_work_and_points_end_where_the_target_does() {
    // Prices: 4, 1, 2, 3 and 8 (in units of 1e-4 for one of work).
    let works = [1.0, 2.0, 1.0, 2.0, 1.0];
    let losses = [4e-4, 2e-4, 2e-4, 6e-4, 8e-4];
    let mut sums = Sums { losses: losses.map(|loss| loss / 1.26).to_vec(), savings: vec![0.05; 5], asked: 0 };
    let choice = choose(&works, WANTED, &mut sums).unwrap();
    let order: Vec<usize> = choice.order.iter().map(|of| of.group).collect();
    assert_eq!(order, [1, 2, 3, 0, 4]);
    // Losses on the way, with the reserve: a little less than 2, 4, 10, 14, 22 of 1e-4.
    assert_eq!(choice.curve.iter().map(|point| point.groups).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(names(&choice.curve), [vec!["careful"], vec!["default"], vec!["fast", "all"]]);
    assert_eq!(choice.chosen, Some(1));
    assert!(choice.curve.is_sorted_by(|a, b| a.speed < b.speed && a.cosines.min > b.cosines.min));
}

#[test]
fn where_everything_is_good_enough_points_between_make_a_curve() {
    let mut sums = Sums { losses: vec![1e-6; 24], savings: vec![0.02; 24], asked: 0 };
    let choice = choose(&[1.0; 24], WANTED, &mut sums).unwrap();
    assert_eq!(choice.curve.iter().map(|point| point.groups).collect::<Vec<_>>(), [6, 12, 24]);
    assert_eq!(names(&choice.curve), [vec![], vec![], vec!["careful", "default", "fast", "all"]]);
    assert_eq!(choice.chosen, Some(2));
    assert_eq!(sums.asked, 3);
}

#[test]
fn few_measurements_find_the_points_of_many_groups() {
    let mut sums = Sums { losses: vec![0.99e-4; 48], savings: vec![0.01; 48], asked: 0 };
    let choice = choose(&[1.0; 48], WANTED, &mut sums).unwrap();
    assert_eq!(choice.curve.iter().map(|point| point.groups).collect::<Vec<_>>(), [8, 16, 32, 48]);
    assert!(sums.asked <= 16, "{}", sums.asked);
}

#[test]
fn a_point_that_nothing_reaches_is_not_there() {
    let mut sums = Sums { losses: vec![0.1; 4], savings: vec![0.02; 4], asked: 0 };
    let choice = choose(&[1.0; 4], WANTED, &mut sums).unwrap();
    assert_eq!(choice.chosen, None);
    assert_eq!(names(&choice.curve).concat(), ["all"]);
    assert_eq!(choice.curve.len(), 3);
    let all = choose(&[1.0; 4], Wanted { point: PointName::All, ..WANTED }, &mut sums).unwrap();
    assert_eq!(all.curve[all.chosen.unwrap()].groups, 4);
    // What was asked for instead of 0.998 is what the default has to reach.
    let lax = choose(&[1.0; 4], Wanted { least: 0.7, ..WANTED }, &mut sums).unwrap();
    assert_eq!(lax.curve[lax.chosen.unwrap()].groups, 2);
}

#[test]
fn the_fastest_of_those_that_reach_the_target_has_the_name() {
    // The last group costs time.
    let mut sums = Sums { losses: vec![1e-6, 2e-6, 3e-6], savings: vec![0.1, 0.1, -0.3], asked: 0 };
    let choice = choose(&[1.0; 3], WANTED, &mut sums).unwrap();
    assert_eq!(names(&choice.curve), [vec![], vec!["careful", "default", "fast"], vec!["all"]]);
    assert_eq!(choice.chosen, Some(1));
}

#[test]
fn a_name_goes_round_and_an_unknown_one_lists_the_known() {
    for name in PointName::ALL {
        assert_eq!(name.name().parse::<PointName>().unwrap(), name);
    }
    let error = "slow".parse::<PointName>().unwrap_err();
    assert_eq!(error.to_string(), "unknown int8 point `slow`, known are: careful, default, fast, all");
}
