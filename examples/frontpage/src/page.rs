//! Renders the page: one file without scripts, which loads nothing. It does not know how the news came.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use crate::News;

/// One section, as the page shows it.
#[derive(Debug)]
pub(crate) struct Card {
    pub(crate) remote: usize,
    pub(crate) news: Option<News>,
    pub(crate) age: Option<Duration>,
    /// Whether the news is as new as it should be.
    pub(crate) current: bool,
    /// The reason why it is not newer, as far as this run knows.
    pub(crate) note: Option<String>,
}

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --soft: #8889; --good: #2a7d46; --old: #b3541e; --none: #888; }
body { font: 16px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem; }
header { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0; }
header p { margin: 0; opacity: .7; font-variant-numeric: tabular-nums; }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); margin-top: 1.25rem; }
article { border: 1px solid var(--line); border-left: .3rem solid var(--tone); border-radius: .4rem; padding: .8rem 1rem; }
article.current { --tone: var(--good); } article.old { --tone: var(--old); } article.none { --tone: var(--none); }
h2 { font-size: 1rem; margin: 0 0 .2rem; }
article p { margin: 0; }
.state { font-size: .85rem; margin-top: .5rem; opacity: .8; font-variant-numeric: tabular-nums; }
.state b { color: var(--tone); font-weight: 600; }
";

/// Renders the whole page at `now`. `edition` is greater for each later page.
pub(crate) fn page(cards: &[Card], edition: u64, now: SystemTime) -> String {
    let current = cards.iter().filter(|card| card.current).count();
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"refresh\" content=\"5\">\n<title>Front page</title>\n<style>{STYLE}</style>\n\
         <header data-edition=\"{edition}\"><h1>Front page</h1><p>made at {} UTC &middot; {current} of {} sections current</p></header>\n<main>\n",
        time_of_day(now),
        cards.len(),
    );
    for card in cards {
        push_card(&mut html, card);
    }
    html.push_str("</main>\n</html>\n");
    html
}

fn push_card(html: &mut String, card: &Card) {
    let (class, state) = match (&card.news, card.current) {
        (None, _) => ("none", "no value yet"),
        (Some(_), true) => ("current", "current"),
        (Some(_), false) => ("old", "last good value"),
    };
    let title = card.news.as_ref().map_or_else(|| format!("Remote {}", card.remote), |news| escape(&news.title));
    let text = card.news.as_ref().map_or_else(|| "&mdash;".to_owned(), |news| escape(&news.text));
    let served = card.news.as_ref().map_or(0, |news| news.served);
    let age = card.age.map_or(String::new(), |age| format!(", {} old", in_words(age)));
    let note = card.note.as_ref().map_or(String::new(), |note| format!(" &middot; {}", escape(note)));
    // The data attributes are for programs that read the page.
    let age_ms = card.age.map_or(String::new(), |age| format!(" data-age-ms=\"{}\"", age.as_millis()));
    writeln!(
        html,
        "<article class=\"{class}\" data-remote=\"{}\" data-served=\"{served}\"{age_ms}>\
         <h2>{title}</h2><p>{text}</p><p class=\"state\"><b>{state}</b>{age}{note}</p></article>",
        card.remote,
    )
    .expect("writing to a string does not fail");
}

/// Escapes text for HTML. Remotes are not trusted to send none.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn in_words(age: Duration) -> String {
    match age.as_secs() {
        0..120 => format!("{:.1} s", age.as_secs_f32()),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

fn time_of_day(now: SystemTime) -> String {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(text: &str, current: bool) -> Card {
        let news = News { title: "Tides".into(), text: text.into(), served: 7 };
        Card { remote: 3, news: Some(news), age: Some(Duration::from_millis(1500)), current, note: None }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_section_shows_its_value_its_age_and_whether_it_is_current() {
        let html = page(&[card("high water at noon", true)], 17, at(3_661));

        assert!(html.contains("made at 01:01:01 UTC &middot; 1 of 1 sections current"), "{html}");
        assert!(html.contains("<header data-edition=\"17\">"), "{html}");
        assert!(html.contains("<b>current</b>, 1.5 s old"), "{html}");
        assert!(html.contains("data-remote=\"3\" data-served=\"7\" data-age-ms=\"1500\""), "{html}");
    }

    #[test]
    fn an_old_section_shows_the_last_good_value_and_why() {
        let html = page(&[Card { note: Some("no answer in time".into()), ..card("low", false) }], 1, at(0));

        assert!(html.contains("low</p>"), "{html}");
        assert!(html.contains("<b>last good value</b>, 1.5 s old &middot; no answer in time"), "{html}");
    }

    #[test]
    fn a_section_that_never_had_a_value_says_so() {
        let html = page(&[Card { news: None, age: None, ..card("", false) }], 1, at(0));

        assert!(html.contains("<h2>Remote 3</h2>") && html.contains("no value yet"), "{html}");
    }

    #[test]
    fn text_of_a_remote_cannot_become_markup() {
        let html = page(&[card("<script>alert(\"&\")</script>", true)], 1, at(0));

        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("&lt;script&gt;alert(&quot;&amp;&quot;)"), "{html}");
    }

    #[test]
    fn ages_are_shown_in_the_largest_unit_that_fits() {
        let words = [1, 119, 120, 7199, 7200].map(|seconds| in_words(Duration::from_secs(seconds)));

        assert_eq!(words, ["1.0 s", "119.0 s", "2 min", "119 min", "2 h"]);
    }
}
