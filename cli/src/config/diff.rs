//! What differs between two texts, line by line.
//!
//! Owns finding and printing it. It must not know where the texts come from.

/// Equal lines shown around a difference.
const AROUND: usize = 3;
/// Above this many pairs of lines everything between the equal ends is shown as replaced.
const TABLE_LIMIT: usize = 4_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Same(&'a str),
    Gone(&'a str),
    New(&'a str),
}

/// The lines of a unified diff, without a heading; none if nothing differs.
pub(super) fn lines(before: &str, after: &str) -> Vec<String> {
    let script = script(
        &before.lines().collect::<Vec<_>>(),
        &after.lines().collect::<Vec<_>>(),
    );
    let is_shown = |at: usize| {
        let near = at.saturating_sub(AROUND)..(at + AROUND + 1).min(script.len());
        script[near]
            .iter()
            .any(|line| !matches!(line, Line::Same(_)))
    };
    let mut shown = Vec::new();
    let (mut old, mut new, mut skipped) = (1, 1, true);
    for (at, line) in script.iter().enumerate() {
        if is_shown(at) {
            if skipped {
                shown.push(format!("@@ -{old} +{new} @@"));
            }
            shown.push(match line {
                Line::Same(text) => format!(" {text}"),
                Line::Gone(text) => format!("-{text}"),
                Line::New(text) => format!("+{text}"),
            });
        }
        skipped = !is_shown(at);
        old += usize::from(!matches!(line, Line::New(_)));
        new += usize::from(!matches!(line, Line::Gone(_)));
    }
    shown
}

/// The shortest way from one to the other, by the longest common subsequence.
fn script<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<Line<'a>> {
    let head = before.iter().zip(after).take_while(|(b, a)| b == a).count();
    let (before_rest, after_rest) = (&before[head..], &after[head..]);
    let tail = before_rest
        .iter()
        .rev()
        .zip(after_rest.iter().rev())
        .take_while(|(b, a)| b == a)
        .count();
    let old = &before_rest[..before_rest.len() - tail];
    let new = &after_rest[..after_rest.len() - tail];
    let mut script: Vec<Line<'a>> = before[..head].iter().map(|text| Line::Same(text)).collect();
    script.extend(middle(old, new));
    let end = &before[before.len() - tail..];
    script.extend(end.iter().map(|text| Line::Same(text)));
    script
}

fn middle<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let replaced = || {
        let gone = old.iter().map(|text| Line::Gone(text));
        gone.chain(new.iter().map(|text| Line::New(text))).collect()
    };
    if old.len().saturating_mul(new.len()) > TABLE_LIMIT {
        return replaced();
    }
    // How long the common subsequence of the rests is.
    let mut common = vec![vec![0u32; new.len() + 1]; old.len() + 1];
    for (i, gone) in old.iter().enumerate().rev() {
        for (j, added) in new.iter().enumerate().rev() {
            common[i][j] = match gone == added {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut script) = (0, 0, Vec::new());
    while i < old.len() && j < new.len() {
        if old[i] == new[j] {
            script.push(Line::Same(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if common[i + 1][j] >= common[i][j + 1] {
            script.push(Line::Gone(old[i]));
            i += 1;
        } else {
            script.push(Line::New(new[j]));
            j += 1;
        }
    }
    script.extend(old[i..].iter().map(|text| Line::Gone(text)));
    script.extend(new[j..].iter().map(|text| Line::New(text)));
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_and_its_surroundings_are_shown() {
        let before = "a\nb\nc\nd\ne\nf\ng\nh\ni\n";
        let after = "a\nb\nc\nd\nX\nf\ng\nh\ni\nj\n";
        let expected = [
            "@@ -2 +2 @@",
            " b",
            " c",
            " d",
            "-e",
            "+X",
            " f",
            " g",
            " h",
            " i",
            "+j",
        ];
        assert_eq!(lines(before, after), expected);
        assert!(lines(before, before).is_empty());
    }

    #[test]
    fn a_diff_turns_one_text_into_the_other() {
        let texts = ["", "a\nb\na\nc", "c\na\nb", "b\nb\nb", "x\na\nb\na\ny"];
        for before in texts {
            for after in texts {
                let before: Vec<&str> = before.lines().collect();
                let after: Vec<&str> = after.lines().collect();
                let script = script(&before, &after);
                let old = script.iter().filter_map(|line| match line {
                    Line::Same(text) | Line::Gone(text) => Some(*text),
                    Line::New(_) => None,
                });
                let new = script.iter().filter_map(|line| match line {
                    Line::Same(text) | Line::New(text) => Some(*text),
                    Line::Gone(_) => None,
                });
                assert_eq!(old.collect::<Vec<_>>(), before);
                assert_eq!(new.collect::<Vec<_>>(), after);
            }
        }
    }
}
