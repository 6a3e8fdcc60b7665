//! What the command line says.

use handfast_fault::{ALL, Fault};

use crate::run::Order;
use crate::subject::{MUTATIONS, Mutation, RECIPES, Recipe};

pub(crate) const USAGE: &str = "\
cargo xtask sim [--seeds N] [--from S]   runs N seeds, the first of which is S (default 1)
cargo xtask sim --seed S                 replays one seed and explains what it finds
  --recipe NAME        runs about one recipe, or `all` of them one after the other
  --mutation NAME      with --recipe: one program does this wrong; `all` hunts each way to
  --members N          members of each cluster; otherwise the seed says 3 or 5
  --fault NAME         switches one deliberate bug on; `all` hunts each of them
  --control            with --fault: the same seeds without the bug, which must find nothing
  --check-determinism  runs each seed twice and compares
  --log FILTER         with --seed: prints what members and clients log, such as `debug`
  --trace              with --seed: writes what happened to target/sim/SEED.trace
  --jobs N             seeds at a time (default: one per core)
  --then               what follows is a call of its own, done together with the one before
";

/// The options, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) from: u64,
    pub(crate) seeds: u64,
    pub(crate) single: bool,
    pub(crate) members: Option<usize>,
    pub(crate) fault: Hunted,
    /// What the runs are about; empty for everything at once.
    pub(crate) recipes: Vec<Recipe>,
    /// What one program of each run does wrong.
    pub(crate) mutation: Option<Mutation>,
    /// Each of them is hunted.
    pub(crate) mutations: bool,
    /// The runs of a hunt, but without what is hunted.
    pub(crate) control: bool,
    pub(crate) twice: bool,
    pub(crate) trace: bool,
    pub(crate) log: Option<String>,
    pub(crate) jobs: usize,
}

/// Which deliberate bugs to switch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hunted {
    None,
    One(Fault),
    Each,
}

impl Args {
    /// Several calls, with `--then` between them.
    pub(crate) fn parse_all(words: &[String]) -> Result<Vec<Args>, String> {
        words
            .split(|word| word == "--then")
            .map(Self::parse)
            .collect()
    }

    /// What to run for its seeds.
    pub(crate) fn order(&self, recipe: Option<Recipe>) -> Order {
        let fault = match self.fault {
            Hunted::One(fault) => Some(fault),
            _ => None,
        };
        Order {
            seed: self.from,
            members: self.members,
            fault,
            control: self.control,
            recipe,
            mutation: self.mutation,
            trace: self.trace,
        }
    }

    /// The options that say again what [`order`](Self::order) is.
    pub(crate) fn options(&self, recipe: Option<Recipe>) -> String {
        let order = self.order(recipe);
        let mut options = String::new();
        if let Some(members) = order.members {
            options += &format!(" --members {members}");
        }
        if let Some(fault) = order.fault {
            options += &format!(" --fault {fault:?}");
        }
        if order.control {
            options += " --control";
        }
        if let Some(recipe) = order.recipe {
            options += &format!(" --recipe {}", recipe.name());
        }
        if let Some(mutation) = order.mutation {
            options += &format!(" --mutation {mutation:?}");
        }
        options
    }

    pub(crate) fn parse(words: &[String]) -> Result<Args, String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut args = Args {
            from: 1,
            seeds: 100,
            single: false,
            members: None,
            fault: Hunted::None,
            recipes: Vec::new(),
            mutation: None,
            mutations: false,
            control: false,
            twice: false,
            trace: false,
            log: None,
            jobs: cores,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--seeds" => args.seeds = number(word, value()?)?,
                "--from" => args.from = number(word, value()?)?,
                "--seed" => {
                    args.from = number(word, value()?)?;
                    (args.seeds, args.single) = (1, true);
                }
                "--members" => args.members = Some(number(word, value()?)? as usize),
                "--recipe" => args.recipes = recipes(value()?)?,
                "--mutation" => match value()?.as_str() {
                    "all" => args.mutations = true,
                    name => args.mutation = Some(mutation(name)?),
                },
                "--fault" => args.fault = hunted(value()?)?,
                "--jobs" => args.jobs = (number(word, value()?)? as usize).max(1),
                "--control" => args.control = true,
                "--check-determinism" => args.twice = true,
                "--log" => args.log = Some(value()?.clone()),
                "--trace" => args.trace = true,
                other => return Err(format!("no option {other}")),
            }
        }
        match args.members {
            Some(members) if ![1, 3, 5].contains(&members) => {
                Err(format!("--members {members}: take 1, 3 or 5"))
            }
            _ => Ok(args),
        }
    }
}

fn recipes(name: &str) -> Result<Vec<Recipe>, String> {
    if name == "all" {
        return Ok(RECIPES.to_vec());
    }
    let found = RECIPES.into_iter().find(|recipe| recipe.name() == name);
    found.map(|recipe| vec![recipe]).ok_or_else(|| {
        let known = RECIPES.map(Recipe::name).join(" ");
        format!("no recipe {name}; there are: all {known}")
    })
}

fn mutation(name: &str) -> Result<Mutation, String> {
    let all = MUTATIONS.iter().map(|(_, mutation, _)| *mutation);
    let found = all.clone().find(|it| format!("{it:?}") == name);
    found.ok_or_else(|| {
        let known: Vec<String> = all.map(|it| format!("{it:?}")).collect();
        format!("no mutation {name}; there are: all {}", known.join(" "))
    })
}

fn number(name: &str, text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("{name} {text}: not a number"))
}

fn hunted(name: &str) -> Result<Hunted, String> {
    if name == "all" {
        return Ok(Hunted::Each);
    }
    let found = ALL.into_iter().find(|fault| format!("{fault:?}") == name);
    found.map(Hunted::One).ok_or_else(|| {
        let known = ALL.map(|fault| format!("{fault:?}")).join(" ");
        format!("no fault {name}; there are: all {known}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Args::parse(&words)
    }

    #[test]
    fn options_are_read() {
        let args = parse("--seeds 7 --from 5 --members 3 --fault AckBeforeSync").unwrap();
        assert_eq!((args.seeds, args.from, args.members), (7, 5, Some(3)));
        assert_eq!(args.fault, Hunted::One(Fault::AckBeforeSync));
        let all = parse("--recipe all --mutation all").unwrap();
        assert_eq!((all.recipes.len(), all.mutations), (RECIPES.len(), true));
        let one = parse("--seed 123 --trace").unwrap();
        assert_eq!(
            (one.seeds, one.from, one.single, one.trace),
            (1, 123, true, true)
        );
    }

    #[test]
    fn several_calls_are_told_apart() {
        let words = "--seeds 7 --then --recipe lock --fault all".split_whitespace();
        let words: Vec<String> = words.map(str::to_owned).collect();
        let [one, two] = &*Args::parse_all(&words).unwrap() else {
            panic!("not two calls");
        };
        assert_eq!((one.seeds, one.options(None)), (7, String::new()));
        assert_eq!(two.fault, Hunted::Each);
        assert_eq!(two.options(Some(Recipe::Lock)), " --recipe lock");
    }

    #[test]
    fn nonsense_is_refused_with_what_there_is() {
        assert!(parse("--seeds").is_err());
        assert!(parse("--seeds many").is_err());
        assert!(parse("--members 4").is_err());
        assert!(parse("--what").is_err());
        assert!(parse("--recipe cake").unwrap_err().contains("lock"));
        assert!(parse("--mutation None").unwrap_err().contains("Jumps"));
        assert!(
            parse("--fault Nothing")
                .unwrap_err()
                .contains("VoteNotSaved")
        );
    }
}
