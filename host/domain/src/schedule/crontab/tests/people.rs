//! Tests crontabs as people write them: the habits of system crontabs, backups, reports, polls, certificates, mirrors,
//! and idioms of other schedulers. Each line is accepted or refused, and means a certain number of instants in the leap
//! year 2028.

use super::*;

/// The number of instants that a line means in 2028, in UTC; `None` if it is refused.
#[rustfmt::skip]
const LINES: &[(&str, Option<u32>)] = &[
    // System crontabs.
    ("17 * * * *", Some(8784)), ("25 6 * * *", Some(366)), ("47 6 * * 7", Some(53)), ("52 6 1 * *", Some(12)),
    ("01 * * * *", Some(8784)), ("02 4 * * *", Some(366)), ("22 4 * * 0", Some(53)), ("42 4 1 * *", Some(12)),
    ("5-55/10 * * * *", Some(52_704)), ("59 23 * * *", Some(366)), ("09,39 * * * *", Some(17_568)),
    ("57 0 * * 0", Some(53)), ("30 7-23 * * *", Some(6222)), ("10 3 * * *", Some(366)), ("30 3 * * 0", Some(53)),
    ("0 0-23/2 * * *", Some(4392)), ("0 */12 * * *", Some(732)), ("0 0,12 * * *", Some(732)), ("*/10 * * * *", Some(52_704)),
    ("00 00 * * *", Some(366)), ("0 0 * * *", Some(366)), ("@reboot", None), ("@hourly", Some(8784)), ("@daily", Some(366)),
    ("@midnight", Some(366)), ("@weekly", Some(53)), ("@monthly", Some(12)), ("@yearly", Some(1)), ("@annually", Some(1)),
    ("@fortnightly", None), ("@every 5m", None), ("@5minutes", None), ("@Hourly", None), ("@ daily", None),
    // Polls.
    ("* * * * *", Some(527_040)), ("*/1 * * * *", Some(527_040)), ("*/2 * * * *", Some(263_520)), ("*/3 * * * *", Some(175_680)),
    ("*/5 * * * *", Some(105_408)), ("*/15 * * * *", Some(35_136)), ("*/20 * * * *", Some(26_352)), ("*/30 * * * *", Some(17_568)),
    ("*/45 * * * *", Some(17_568)), ("*/60 * * * *", Some(8784)), ("0/5 * * * *", None), ("0,5,10,15,20,25,30,35,40,45,50,55 * * * *", Some(105_408)),
    ("2-59/5 * * * *", Some(105_408)), ("3-58/5 * * * *", Some(105_408)), ("1-56/5 * * * *", Some(105_408)), ("0-59/3 * * * *", Some(175_680)),
    ("*/7 * * * *", Some(79_056)), ("*/9 * * * *", Some(61_488)), ("7,22,37,52 * * * *", Some(35_136)), ("13,43 * * * *", Some(17_568)),
    ("*/5 8-18 * * *", Some(48_312)), ("*/5 8-18 * * 1-5", Some(34_320)), ("*/15 9-17 * * mon-fri", Some(9360)), ("*/10 7-19 * * MON-FRI", Some(20_280)),
    ("* 9-17 * * 1-5", Some(140_400)), ("*/5 * * * 1,2,3,4,5", Some(74_880)), ("*/15 6-22 * * 6,0", Some(7208)), ("*/30 22-23,0-5 * * *", Some(5856)),
    ("*/30 22-5 * * *", None), ("0-29/5 8 * * *", Some(2196)), ("*/2 0,12 * * *", Some(21_960)), ("10-50/20 8-18 1-31 1-12 1-5", Some(12_078)),
    // Hours of a day.
    ("0 * * * *", Some(8784)), ("0 */1 * * *", Some(8784)), ("0 */2 * * *", Some(4392)), ("0 */3 * * *", Some(2928)), ("0 */4 * * *", Some(2196)),
    ("0 */6 * * *", Some(1464)), ("0 */8 * * *", Some(1098)), ("0 1-23/2 * * *", Some(4392)), ("0 0-23 * * *", Some(8784)), ("5 0-23/6 * * *", Some(1464)),
    ("30 */2 * * *", Some(4392)), ("15 3,15 * * *", Some(732)), ("0 6,18 * * *", Some(732)), ("0 8,12,16,20 * * *", Some(1464)), ("45 23 * * *", Some(366)),
    ("0 9-17 * * *", Some(3294)), ("0 9-17 * * 1-5", Some(2340)), ("0 9-17/2 * * 1-5", Some(1300)), ("0 8-20/4 * * *", Some(1464)), ("0 7,19 * * *", Some(732)),
    ("0 24 * * *", None), ("0 0-24 * * *", None), ("0 9am * * *", None), ("0 09 * * *", Some(366)), ("0 9.5 * * *", None),
    // Nights.
    ("0 1 * * *", Some(366)), ("0 2 * * *", Some(366)), ("30 2 * * *", Some(366)), ("0 3 * * *", Some(366)), ("15 4 * * *", Some(366)), ("5 5 * * *", Some(366)),
    ("0 0 * * 1-5", Some(260)), ("0 2 * * 2-6", Some(261)), ("0 3 * * 6", Some(53)), ("30 1 * * sat", Some(53)), ("0 4 * * SUN", Some(53)), ("0 2 * * 1,3,5", Some(156)),
    ("0 5 * * mon,wed,fri", Some(156)), ("0 5 * * Tue,Thu", Some(104)), ("0 6 * * monday", None), ("0 6 * * mon-sun", Some(366)), ("0 6 * * sun-sat", Some(366)),
    // Weekends, as cronie reads them again since 2025.
    ("0 8 * * sat-sun", Some(106)), ("0 8 * * fri-sun", Some(158)), ("0 8 * * 6-0", Some(106)), ("0 8 * * 6-7", Some(106)), ("0 8 * * 5-7", Some(158)), ("0 8 * * 6,0", Some(106)),
    ("0 8 * * 6,7", Some(106)), ("0 8 * * SAT,SUN", Some(106)), ("*/20 10-20 * * sat-sun", Some(3498)), ("0 8 * * thu-sun", Some(210)), ("0 8 * * fri-mon", None),
    ("0 8 * * sun-mon", Some(105)), ("0 8 * * 0-6", Some(366)), ("0 8 * * 0-7", Some(366)), ("0 8 * * 7-1", None), ("0 8 * * 8", None), ("0 8 * * sat-mon", None),
    // Random times, as in cronie; here the task's name decides.
    ("0~59 3 * * *", Some(366)), ("~ * * * *", Some(8784)), ("~ 2~5 * * *", Some(366)), ("0~29 * * * *", Some(8784)), ("~ ~ * * 0", Some(53)), ("0 0 1~28 * *", Some(12)),
    ("0~30,31~59 * * * *", Some(17_568)), ("5~ 4 * * *", Some(366)), ("~15 4 * * *", Some(366)), ("0~60 * * * *", None), ("30~10 * * * *", None), ("0~59/5 * * * *", None),
    // Months, quarters and years.
    ("0 0 1 * *", Some(12)), ("0 6 1 * *", Some(12)), ("0 0 15 * *", Some(12)), ("0 0 1,15 * *", Some(24)), ("30 4 1,15 * 5", Some(72)), ("0 0 1 */3 *", Some(4)), ("0 0 1 1,4,7,10 *", Some(4)),
    ("0 0 1 jan,apr,jul,oct *", Some(4)), ("0 0 1 */2 *", Some(6)), ("0 0 1 1 *", Some(1)), ("0 0 1 1,7 *", Some(2)), ("0 12 25 12 *", Some(1)), ("0 0 29 2 *", Some(1)), ("0 0 31 * *", Some(7)),
    ("0 0 30 * *", Some(11)), ("0 0 30 2 *", None), ("0 0 31 4,6,9,11 *", None), ("0 0 31 feb,apr *", None), ("0 0 28-31 * *", Some(42)), ("55 23 28-31 * *", Some(42)), ("0 9 1-7 * *", Some(84)),
    ("0 9 1-7 * 1", Some(124)), ("0 9 */100,1-7 * 1", Some(12)), ("0 9 * * 1#1", Some(12)), ("0 9 8-14 * */7", Some(12)), ("0 0 */2 * *", Some(187)), ("0 0 2-30/2 * *", Some(179)), ("0 0 1-31/2 * *", Some(187)),
    ("0 0 1 3-5 *", Some(3)), ("0 0 1 nov-feb *", None), ("0 0 1 11,12,1,2 *", Some(4)), ("0 0 * jan *", Some(31)), ("0 0 * FEB *", Some(29)), ("0 0 * february *", None), ("15 10 1 1-12/3 *", Some(4)),
    ("0 0 13 * 5", Some(63)), ("0 0 1 1 0", Some(6)), ("0 0 25-31 * sun", Some(120)), ("0 0 0 * *", None), ("0 0 32 * *", None), ("0 0 * 0 *", None), ("0 0 * 13 *", None),
    // From Quartz, croner and the like.
    ("0 0 L * *", Some(12)), ("0 18 L-1 * *", Some(12)), ("0 9 1W * *", Some(12)), ("0 9 15W * *", Some(12)), ("0 9 LW * *", Some(12)), ("0 9 * * 5L", Some(12)), ("0 9 * * friL", Some(12)), ("0 9 * * 2#2", Some(12)),
    ("0 9 * * mon#1,mon#3", Some(24)), ("0 9 * * 1#5", Some(4)), ("0 22 ? * friL", None), ("0 22 * * ?", None), ("0 0 12 * * ?", None), ("0 15 10 ? * *", None), ("0 0 12 1/5 * ?", None), ("0 0 L,15 * *", Some(24)),
    ("0 0 * * L", None), ("0 0 W * *", None), ("0 0 * * 1#6", None), ("0 0 L-31 * *", None),
    // From systemd.
    ("minutely", Some(527_040)), ("hourly", Some(8784)), ("daily", Some(366)), ("weekly", Some(52)), ("monthly", Some(12)), ("quarterly", Some(4)), ("semiannually", Some(2)), ("yearly", Some(1)), ("annually", Some(1)),
    ("Daily", Some(366)), ("WEEKLY", Some(52)), ("fortnightly", None), ("*-*-* 04:00:00", None), ("Mon..Fri 09:00", None), ("mon *-*-* 00:00", None),
    // From Jenkins.
    ("H * * * *", Some(8784)), ("H/15 * * * *", Some(35_136)), ("H H * * *", Some(366)), ("H H(0-7) * * *", Some(366)), ("H H 1,15 1-11 *", Some(22)), ("H(0-29)/10 * * * *", Some(26_352)), ("H H * * 1-5", Some(260)), ("h h * * *", None),
    ("H H(9-16)/2 * * 1-5", Some(1040)),
    // With a zone of their own.
    ("CRON_TZ=UTC 0 9 * * *", Some(366)), ("TZ=UTC 0 9 * * 1-5", Some(260)), ("CRON_TZ=UTC @daily", Some(366)), ("CRON_TZ=Berlin 0 9 * * *", None), ("CRON_TZ= 0 9 * * *", None), ("TZ=UTC", None), ("UTC 0 9 * * *", None),
    // With text that belongs to no crontab.
    ("0 9 * * 1-5 /usr/bin/backup", None), ("* * * * * root run-parts", None), ("*/5 * * * * *", None), ("0 0 * * * 2028", None), ("# 0 9 * * *", None), ("MAILTO=me", None), ("0 9 * *", None), ("0 9 *", None), ("9", None),
    ("0 9 * * 1-5 # weekdays", None), ("-0 9 * * *", None), ("0,9 , * * *", None), ("0 9 * * *;", None), ("0  9\t*  *\t*", Some(366)), (" 0 9 * * * ", Some(366)), ("0 9 * * * ", Some(366)), ("every 5 minutes", None),
    ("*/5* * * * *", None), ("* * * * */5", Some(105 * 1440)), ("** * * * *", None), ("*\\/5 * * * *", None), ("\"0 9 * * *\"", None), ("0\u{a0}9 * * *", None), ("０ 9 * * *", None), ("0 9 ∗ ∗ ∗", None),
];

#[test]
fn the_crontabs_that_people_have_mean_so_many_instants_in_a_leap_year() {
    let year = |year: i32| Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap().timestamp();
    let (start, end) = (year(2028), year(2029));
    let mut wrong = Vec::new();
    for (text, expected) in LINES {
        let found = Crontab::parse(text).ok().map(|crontab| {
            let named = crontab.for_name("acme/report");
            let mut last = start - 1;
            let next = || {
                last = named.calendar.next_after(last).filter(|second| *second < end)?;
                Some(last)
            };
            u32::try_from(std::iter::from_fn(next).count()).unwrap()
        });
        if found != *expected {
            wrong.push(format!("{text}: {found:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    figure(&format!("figure crontabs_of_people {} lines", LINES.len()));
    assert!(LINES.len() > 250, "{}", LINES.len());
}
