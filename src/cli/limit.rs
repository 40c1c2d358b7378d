//! One account's limit for a person: where its rights are, and how old each site's word is.

use serde_json::Value;

use super::table::age;

/// The page of `strowger show limits ACCOUNT`.
#[must_use]
pub fn page(limit: &Value) -> String {
    let text = |key: &str| limit[key].as_str().unwrap_or("-").to_owned();
    let number = |key: &str| limit[key].as_u64().unwrap_or(0);
    let mut out = format!("account {}\n", text("account"));
    let mut line = |key: &str, value: String| out.push_str(&format!("  {key:<12} {value}\n"));
    let bound = number("bound");
    let beyond =
        if bound > number("limit") { format!(", at most {bound} while sites are cut off") } else { String::new() };
    line("limit", format!("{}{beyond}", limit["limit"]));
    if limit["home"].is_null() {
        line("here", format!("{} calls of {}", number("live"), number("usable")));
        return out;
    }
    line("home", text("home"));
    if let Some(issued) = limit["issued"].as_u64() {
        let gap = number("gap");
        let gap = if gap > 0 { format!(", {gap} above the limit are being collected") } else { String::new() };
        line("issued", format!("{issued}{gap}"));
    }
    let [base, lent, borrowed] = ["base", "lent", "borrowed"].map(number);
    line(
        &format!("at {}", text("node")),
        format!(
            "{} calls of {} usable: {base} own, {lent} lent, {borrowed} borrowed",
            number("live"),
            number("usable")
        ),
    );
    if number("running_off") > 0 {
        line("", format!("{} calls go on without a right until they end", number("running_off")));
    }
    let list = |key: &str| limit[key].as_array().cloned().unwrap_or_default();
    let seconds = |value: &Value| age(value.as_f64().unwrap_or(0.0) as u64);
    for at in list("placed") {
        let stranded = if at["stranded"] == true { ", stranded until it is retired" } else { "" };
        let (site, amount, incarnation) = (word(&at["site"]), &at["amount"], &at["incarnation"]);
        line("placed", format!("{amount} at {site} (incarnation {incarnation}){stranded}"));
    }
    for loans in by_site(&list("loans_out")) {
        line("lent", format!("{} to {}, home in {} at the latest", loans.amount, loans.site, loans.left()));
    }
    for loans in by_site(&list("loans_in")) {
        line("borrowed", format!("{} of {}, for {} more", loans.amount, loans.site, loans.left()));
    }
    for site in list("sites") {
        let state = if site["linked"] == true { "linked" } else { "cut off" };
        let calls = match site["calls_age_s"].as_f64() {
            Some(heard) => format!("{} calls as of {} ago", site["calls"], age(heard as u64)),
            None => "has not said its calls yet".to_owned(),
        };
        let differs = site["differs"].as_str().map(|what| format!("; {what}")).unwrap_or_default();
        line(&format!("at {}", word(&site["site"])), format!("{state}, {calls}{differs}"));
    }
    if let Some(why) = limit["refusal"]["why"].as_str() {
        line("last refusal", format!("{why}, {} ago", seconds(&limit["refusal"]["ago_s"])));
    }
    out
}

/// The loans of one site together: there may be hundreds.
struct Loans {
    site: String,
    amount: u64,
    soonest_s: u64,
    latest_s: u64,
}

impl Loans {
    fn left(&self) -> String {
        let (soonest, latest) = (age(self.soonest_s), age(self.latest_s));
        if soonest == latest { latest } else { format!("{soonest} to {latest}") }
    }
}

fn by_site(loans: &[Value]) -> Vec<Loans> {
    let mut out: Vec<Loans> = Vec::new();
    for loan in loans {
        let (amount, left) = (loan["amount"].as_u64().unwrap_or(0), loan["left_s"].as_f64().unwrap_or(0.0) as u64);
        let site = word(&loan["site"]);
        match out.iter_mut().find(|one| one.site == site) {
            Some(one) => {
                one.amount += amount;
                (one.soonest_s, one.latest_s) = (one.soonest_s.min(left), one.latest_s.max(left));
            }
            None => out.push(Loans { site: site.to_owned(), amount, soonest_s: left, latest_s: left }),
        }
    }
    out
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn where_rights_are_is_said_with_ages() {
        let limit = json!({
            "account": "alice", "node": "phx-1", "limit": 9, "bound": 9, "home": "phx-1", "issued": 10, "gap": 1,
            "usable": 3, "live": 2, "base": 4, "lent": 1, "borrowed": 0, "running_off": 0,
            "placed": [{ "site": "lon-1", "incarnation": 7, "amount": 3, "stranded": true }],
            "loans_out": [{ "site": "syd-1", "amount": 1, "left_s": 75.2 }, { "site": "syd-1", "amount": 2, "left_s": 70.9 }],
            "loans_in": [{ "site": "lon-1", "amount": 1, "left_s": 3.2 }],
            "sites": [{ "site": "lon-1", "linked": false, "calls": 3, "calls_age_s": 75.0, "differs": "limit 8 there, 9 here" }],
            "refusal": { "why": "no site has a right to spare", "ago_s": 4.0 },
        });
        let expected = "\
account alice
  limit        9
  home         phx-1
  issued       10, 1 above the limit are being collected
  at phx-1     2 calls of 3 usable: 4 own, 1 lent, 0 borrowed
  placed       3 at lon-1 (incarnation 7), stranded until it is retired
  lent         3 to syd-1, home in 1m10s to 1m15s at the latest
  borrowed     1 of lon-1, for 3s more
  at lon-1     cut off, 3 calls as of 1m15s ago; limit 8 there, 9 here
  last refusal no site has a right to spare, 4s ago
";
        assert_eq!(page(&limit), expected);
        let alone = json!({ "account": "bob", "limit": 2, "bound": 2, "home": null, "usable": 2, "live": 1 });
        assert_eq!(page(&alone), "account bob\n  limit        2\n  here         1 calls of 2\n");
    }
}
