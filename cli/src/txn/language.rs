//! The lines of a transaction: compares and requests as etcdctl writes them.
//!
//! Owns their grammar: words, quotes, compares. It must not know where lines come from.

use clap::{Parser, Subcommand};
use handfast_core::{Compare, IntegerTarget, Op};

use crate::exit::Failure;
use crate::keys::lease_id;
use crate::kv::{del, get, put};

/// A request, with the options of the command of that name.
#[derive(Subcommand, Debug, Clone)]
pub(super) enum Operation {
    Get(get::GetArgs),
    Put(put::PutArgs),
    Del(del::DelArgs),
}

#[derive(Parser)]
#[command(no_binary_name = true, disable_help_subcommand = true)]
struct Line {
    #[command(subcommand)]
    operation: Operation,
}

impl Operation {
    /// The request to send.
    pub(super) fn request(&self) -> Result<Op, Failure> {
        match self {
            Operation::Get(args) => get::operation(args),
            Operation::Put(args) => put::operation(args),
            Operation::Del(args) => del::operation(args.clone()),
        }
    }
}

/// Reads a request such as `put "a key" value --lease ff`.
pub(super) fn operation(line: &str) -> Result<Operation, Failure> {
    let words = words(line).map_err(|problem| wrong(line, &problem))?;
    match Line::try_parse_from(words) {
        Ok(Line { operation }) => Ok(operation),
        Err(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            Err(wrong(line, first.trim_start_matches("error: ")))
        }
    }
}

/// Reads a compare such as `mod("key") > "0"`.
pub(super) fn compare(line: &str) -> Result<Compare, Failure> {
    let problem = "a compare is written like mod(\"key\") > \"0\"";
    let (target, rest) = line.split_once('(').ok_or_else(|| wrong(line, problem))?;
    let (key, rest) = operand(rest, ')').ok_or_else(|| wrong(line, problem))?;
    let rest = rest
        .trim_start()
        .strip_prefix(')')
        .ok_or_else(|| wrong(line, problem))?;
    let rest = rest.trim_start();
    let operator = ["!=", "=", "<", ">"]
        .into_iter()
        .find(|sign| rest.starts_with(sign));
    let operator = operator.ok_or_else(|| wrong(line, "the operators are =, !=, < and >"))?;
    let (value, end) =
        operand(rest[operator.len()..].trim_start(), '\0').ok_or_else(|| wrong(line, problem))?;
    if !end.trim().is_empty() {
        return Err(wrong(line, "there is more text behind the compare"));
    }
    build(target.trim(), key, operator, value).map_err(|problem| wrong(line, &problem))
}

fn build(target: &str, key: String, operator: &str, value: String) -> Result<Compare, String> {
    let number = || {
        value
            .parse::<i64>()
            .map_err(|_| format!("`{value}` is not a number"))
    };
    match target {
        "c" | "create" => integer(Compare::create_revision(key), operator, number()?),
        "m" | "mod" => integer(Compare::mod_revision(key), operator, number()?),
        "ver" | "version" => integer(Compare::version(key), operator, number()?),
        "lease" => integer(Compare::lease(key), operator, lease_id(&value)?),
        "val" | "value" => {
            let target = Compare::value(key);
            Ok(match operator {
                "=" => target.eq(value),
                "!=" => target.ne(value),
                "<" => target.lt(value),
                _ => target.gt(value),
            })
        }
        other => Err(format!(
            "`{other}` is not one of create, mod, version, value, lease"
        )),
    }
}

fn integer(target: IntegerTarget, operator: &str, value: i64) -> Result<Compare, String> {
    Ok(match operator {
        "=" => target.eq(value),
        "!=" => target.ne(value),
        "<" => target.lt(value),
        _ => target.gt(value),
    })
}

fn wrong(line: &str, problem: &str) -> Failure {
    Failure::Usage(format!("in the transaction, `{line}`: {problem}"))
}

/// Text in quotes, or bare text up to `end` or a blank; with what follows it.
fn operand(text: &str, end: char) -> Option<(String, &str)> {
    let text = text.trim_start();
    if text.starts_with(['"', '\'']) {
        return quoted(text);
    }
    let stop = text
        .find(|c: char| c == end || c.is_whitespace())
        .unwrap_or(text.len());
    (stop > 0).then(|| (text[..stop].to_owned(), &text[stop..]))
}

/// Text in double quotes (with escapes) or single quotes (without).
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut chars = text.char_indices();
    let (_, quote) = chars.next()?;
    let mut content = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Some((content, &text[at + c.len_utf8()..])),
            '\\' if quote == '"' => content.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            }),
            _ => content.push(c),
        }
    }
    None
}

/// Splits a line into words; quotes keep blanks and may stand in the middle of a word.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let mut word = String::new();
        loop {
            match rest.chars().next() {
                Some('"' | '\'') => {
                    let (content, after) = quoted(rest).ok_or("a quote is not closed")?;
                    word.push_str(&content);
                    rest = after;
                }
                Some(c) if !c.is_whitespace() => {
                    word.push(c);
                    rest = &rest[c.len_utf8()..];
                }
                _ => break,
            }
        }
        words.push(word);
        rest = rest.trim_start();
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_what_is_quoted() {
        assert_eq!(
            words(r#"put  "a \"b\"" 'c d' e"#).unwrap(),
            ["put", "a \"b\"", "c d", "e"]
        );
        assert_eq!(words("put k \"\"").unwrap(), ["put", "k", ""]);
        assert!(words("put \"a").is_err());
    }

    #[test]
    fn compares_of_etcdctl_are_read() {
        let same = [
            (r#"mod("k") > "0""#, Compare::mod_revision("k").gt(0)),
            ("create(k)=0", Compare::create_revision("k").eq(0)),
            (r#"value("a)b") != "x y""#, Compare::value("a)b").ne("x y")),
            ("ver( \"k\" ) < 3", Compare::version("k").lt(3)),
            ("lease(k) = ff", Compare::lease("k").eq(255)),
        ];
        for (line, expected) in same {
            assert_eq!(compare(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn wrong_compares_are_refused_with_the_line() {
        for line in [
            "",
            "mod",
            "mod(k)",
            "mod(k) ~ 1",
            "mod(k) > x",
            "size(k) = 1",
            "mod(k)=1 2",
        ] {
            let text = compare(line).unwrap_err().to_string();
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn requests_take_the_options_of_the_commands() {
        assert!(
            operation("get a --prefix --limit 3")
                .unwrap()
                .request()
                .is_ok()
        );
        assert!(operation("put a b --lease ff").unwrap().request().is_ok());
        assert!(operation("del a z").unwrap().request().is_ok());
        assert!(operation("put a").unwrap().request().is_err());
        let text = operation("drop a").unwrap_err().to_string();
        assert!(
            text.contains("drop a") && !text.contains("error:"),
            "{text}"
        );
    }
}
