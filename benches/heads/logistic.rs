//! Times logistic fits for `logistic.py`, which runs scikit-learn in turn with it on the same rows and folds.
//!
//! Arguments: rows (f32), labels and folds (u32 each), dim, classes, threads. Each line of the standard input asks for one
//! timing (`fit C`, or `path C,C,...` for all folds of the file) and is answered by one line of JSON. `decisions C,C,...`
//! writes decision values (f32) of the validation rows by fold, C, row and class: those of the path to the file `path`
//! beside the rows, those of certified fits of each fold and C to `certified`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that is read by a script")]

use std::fs::File;
use std::io::{BufRead, Read};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use ndarray::{Array2, ArrayView2};
use offprint::heads::{Fold, LabelledRows, LogisticTrainer, Matrix, Model, Rows, Selection, Targets, Trainer};
use serde_json::json;

struct Set {
    values: Vec<f32>,
    dim: usize,
    targets: Targets,
    folds: Vec<Fold>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [rows, labels, folds, dim, classes, threads] = &arguments[..] else {
        eprintln!("usage: logistic ROWS LABELS FOLDS DIM CLASSES THREADS (see logistic.py)");
        return Ok(());
    };
    rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;
    let values = words(rows)?.into_iter().map(f32::from_bits).collect();
    let of = words(labels)?.into_iter().map(|label| label as usize).collect();
    let set = Set {
        values,
        dim: dim.parse()?,
        targets: Targets::Classes { of, classes: classes.parse()? },
        folds: split(&words(folds)?),
    };
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = match line.strip_prefix("decisions ") {
            Some(grid) => write_decisions(&set, &strengths(grid)?, Path::new(rows).parent().unwrap_or(Path::new("")))?,
            None => answer(&set, &line)?,
        };
        println!("{answer}");
    }
    Ok(())
}

fn strengths(grid: &str) -> Result<Vec<f64>> {
    Ok(grid.split(',').map(str::parse).collect::<Result<_, _>>()?)
}

fn words(path: &str) -> Result<Vec<u32>> {
    let mut file = File::open(path).with_context(|| format!("`{path}` could not be read"))?;
    let mut words = Vec::with_capacity(usize::try_from(file.metadata()?.len() / 4)?);
    // Bit by bit, so that the peak of memory is the set's.
    let mut bytes = vec![0; 1 << 20];
    loop {
        let mut count = 0;
        while count < bytes.len() {
            match file.read(&mut bytes[count..])? {
                0 => break,
                more => count += more,
            }
        }
        words.extend(bytes[..count].as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)));
        if count < bytes.len() {
            return Ok(words);
        }
    }
}

fn split(fold_of: &[u32]) -> Vec<Fold> {
    let count = fold_of.iter().max().map_or(0, |&last| last + 1);
    let fold = |number| {
        let (validation, train) = (0..fold_of.len()).partition(|&row| fold_of[row] == number);
        Fold { train, validation }
    };
    (0..count).map(fold).collect()
}

fn answer(set: &Set, line: &str) -> Result<serde_json::Value> {
    let rows = Matrix::new(&set.values, (set.targets.rows(), set.dim))?;
    let data = LabelledRows { rows: &rows, targets: &set.targets, weights: None };
    let trainer = LogisticTrainer::default();
    let (start, cpu) = (Instant::now(), processor_seconds()?);
    let mut answer = match line.split_once(' ') {
        Some(("fit", c)) => {
            let fitted = trainer.fit(&data, c.parse()?)?;
            let Model::Linear(model) = &fitted.model else { bail!("a logistic model is linear") };
            json!({
                "optimality": fitted.optimality,
                "norm": model.coefficients.iter().map(|w| w * w).sum::<f64>().sqrt(),
            })
        }
        Some(("path", grid)) => {
            json!({ "scores": accuracies(set, (&trainer, &data), &strengths(grid)?)? })
        }
        _ => bail!("`{line}` is neither `fit C` nor `path C,C,...`"),
    };
    answer["seconds"] = json!(start.elapsed().as_secs_f64());
    answer["processor_seconds"] = json!(processor_seconds()? - cpu);
    Ok(answer)
}

/// By fold and C.
fn accuracies(
    set: &Set,
    (trainer, data): (&LogisticTrainer, &LabelledRows<'_>),
    grid: &[f64],
) -> Result<Vec<Vec<f64>>> {
    let Targets::Classes { of, .. } = &set.targets else { bail!("the sets have classes") };
    let scores = Mutex::new(vec![vec![0.0; grid.len()]; set.folds.len()]);
    trainer.path(data, &set.folds, grid, &|(fold, number), decisions| {
        let validation = &set.folds[fold].validation;
        let right = validation.iter().zip(decisions.rows()).filter(|(row, decisions)| {
            let best = decisions.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(class, _)| class);
            of[**row] == if decisions.len() == 1 { usize::from(decisions[0] > 0.0) } else { best }
        });
        let score = right.count() as f64 / validation.len() as f64;
        scores.lock().expect("no holder panics")[fold][number] = score;
        Ok(())
    })?;
    Ok(scores.into_inner().expect("no holder panics"))
}

/// Nothing of it is timed.
fn write_decisions(set: &Set, grid: &[f64], folder: &Path) -> Result<serde_json::Value> {
    let rows = Matrix::new(&set.values, (set.targets.rows(), set.dim))?;
    let data = LabelledRows { rows: &rows, targets: &set.targets, weights: None };
    let trainer = LogisticTrainer::default();
    let places: usize = set.folds.len() * grid.len();
    let on_path = Mutex::new(vec![Array2::zeros((0, 0)); places]);
    trainer.path(&data, &set.folds, grid, &|(fold, number), decisions| {
        on_path.lock().expect("no holder panics")[fold * grid.len() + number] = decisions.to_owned();
        Ok(())
    })?;
    let mut certified = Vec::with_capacity(places);
    for fold in &set.folds {
        let (train, targets) = (Selection::new(&rows, &fold.train), set.targets.select(&fold.train));
        let mut buffer = Vec::new();
        let validation = Selection::new(&rows, &fold.validation);
        let block = validation.block(0..validation.count(), &mut buffer);
        for &c in grid {
            let fitted = trainer.fit(&LabelledRows { rows: &train, targets: &targets, weights: None }, c)?;
            let Model::Linear(model) = fitted.model else { bail!("a logistic model is linear") };
            let wide = block.mapv(f64::from);
            certified.push(wide.dot(&model.coefficients.t()) + ndarray::aview1(&model.intercepts));
        }
    }
    let on_path = on_path.into_inner().expect("no holder panics");
    std::fs::write(folder.join("path"), bytes(on_path.iter().map(Array2::view)))?;
    std::fs::write(folder.join("certified"), bytes(certified.iter().map(Array2::view)))?;
    Ok(json!({}))
}

fn bytes<'a>(matrices: impl Iterator<Item = ArrayView2<'a, f64>>) -> Vec<u8> {
    matrices
        .flat_map(|matrix| matrix.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect::<Vec<u8>>())
        .collect()
}

/// Processor time of all threads, in steps of 10 ms.
fn processor_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}
