//! Finds circles: sets of files in which each uses each other, directly or through the others.

use std::collections::BTreeSet;

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;

/// Returns the sets of two or more, the largest first, each in order.
pub(crate) fn circles(edges: &BTreeSet<(usize, usize)>) -> Vec<Vec<usize>> {
    let graph: DiGraphMap<usize, ()> = edges.iter().map(|(from, to)| (*from, *to, ())).collect();
    let mut found: Vec<Vec<usize>> = tarjan_scc(&graph).into_iter().filter(|set| set.len() > 1).collect();
    for set in &mut found {
        set.sort_unstable();
    }
    found.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    found
}
