//! A cheaper region or zone: the same GPUs where the card names a lower price.

use std::sync::Arc;

use super::{Advice, Case, Change, Confidence, Found, Kind};
use crate::base::Money;
use crate::price::Rates;

pub fn advise(case: &Case<'_>) -> Found {
    let s = case.subject;
    let offer = s.job.resources.gpu.kind.as_deref().filter(|_| s.job.resources.gpu.count > 0).and_then(|k| s.rates.gpus.get(k));
    let Some(offer) = offer.filter(|o| !o.regions.is_empty()) else {
        return Found::Missing("prices by zone: the card has one price for all zones".to_owned());
    };
    let price = |region: &Arc<str>, zone: Option<&Arc<str>>| {
        let mut rates: Rates = s.rates.clone();
        (rates.site.region, rates.site.zone) = (Some(Arc::clone(region)), zone.cloned());
        Change::default().price(&rates, s.job, &case.units)
    };
    type Place<'p> = (Money, &'p Arc<str>, Option<&'p Arc<str>>);
    let mut best: Option<Place<'_>> = None;
    for (region, prices) in &offer.regions {
        for zone in std::iter::once(None).chain(prices.zones.keys().map(Some)) {
            if let Some(cost) = price(region, zone).filter(|c| best.is_none_or(|b| *c < b.0)) {
                best = Some((cost, region, zone));
            }
        }
    }
    let least = case.base.scale(1, super::LEAST);
    let Some((cost, region, zone)) = best.filter(|b| case.base - b.0 > least) else { return Found::Nothing };
    let place = zone.map_or(format!("region `{region}`"), |z| format!("zone `{z}` of `{region}`"));
    Found::Do(Box::new(Advice {
        kind: Kind::Zone,
        title: format!("run in {place}: `pool.region` and `pool.zone` of oppen.yaml"),
        saves: case.base - cost,
        computed: format!("the same runs at the card's prices there ({})", s.rates.source),
        confidence: Confidence::Medium,
        because: "times are thought to be the same; whether there is room is not known".to_owned(),
        side_effects: vec!["data has to be there too, and moving it may cost; every job of the pool moves".to_owned()],
        settings: Vec::new(),
        at_most: false,
        change: Change::default(),
    }))
}
