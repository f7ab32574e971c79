//! The deliveries: which project each is about, and whether it tells of a push, tells of it again, or of another ref.

use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;

use super::super::load::Schedule;
use super::super::server::FastClient;
use crate::gitlab::delivery::Delivery;
use crate::gitlab::{GitlabServer, Project, samples};

/// Projects, told of in turn.
pub(super) const PROJECTS: usize = 50;
/// 200 deliveries a second for 20 s: each project is told of every 250 ms. 18 pushes a second are more than a machine of two
/// processors takes, with the host of the repositories on it.
pub(super) const BUSY: Mix =
    Mix { schedule: Schedule { per_second: 200, requests: 4_000 }, push_every: 11, first: 0 };
/// The same for 40 s, with pushes as GitLab tells of them: each is followed by some forty deliveries about its pipeline and
/// jobs. Four or five pushes a second.
pub(super) const USUAL: Mix =
    Mix { schedule: Schedule { per_second: 200, requests: 8_000 }, push_every: 44, first: PUSHES_OF_ONE_MAX };
/// Deliveries before, so that connections and caches are as in a server that runs.
pub(super) const WARM_UP: Schedule = Schedule { per_second: 50, requests: 200 };
/// Most pushes of one project under [`BUSY`].
const PUSHES_OF_ONE_MAX: usize = 8;
/// Commits of one project that are pushed in all.
pub(super) const COMMITS: usize = PUSHES_OF_ONE_MAX + 4;

/// A load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mix {
    pub(super) schedule: Schedule,
    /// Every so many deliveries about a project one tells of a push; the others tell of that again, or of other refs.
    push_every: usize,
    /// The number of the commit before the first that is pushed.
    first: usize,
}

/// A registered project.
#[derive(Debug)]
pub(super) struct Shop {
    pub(super) slug: String,
    /// Where its deliveries go.
    pub(super) url: String,
    /// What signs them.
    pub(super) secret: String,
    /// The commit its branch stands at, and those that are pushed one after the other.
    pub(super) commits: Vec<String>,
    pub(super) project: Project,
}

/// What a delivery tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// The push of the commit of this number, which comes with it.
    Push(usize),
    /// The same as the last one, under the same id.
    Again,
    /// That a branch moved which goes nowhere.
    OtherRef,
}

/// A delivery and what comes with it.
#[derive(Debug)]
struct Planned {
    shop: usize,
    news: News,
    delivery: Delivery,
    /// When the push was made, which is just before the delivery leaves.
    pushed_at: OnceLock<Timestamp>,
}

/// A push that was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pushed {
    /// Of which project.
    pub(super) shop: usize,
    /// Of the commit of which number.
    pub(super) number: usize,
    /// When.
    pub(super) at: Timestamp,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Load {
    gitlab: GitlabServer,
    client: FastClient,
    pub(super) shops: Vec<Shop>,
    planned: Vec<Planned>,
}

impl Load {
    /// Everything that deliveries are made of, and none planned.
    pub(super) fn new(gitlab: GitlabServer, client: FastClient, shops: Vec<Shop>) -> Result<Self> {
        ensure!(shops.len() == PROJECTS, "there are {} projects", shops.len());
        Ok(Self { gitlab, client, shops, planned: Vec::new() })
    }

    /// Plans the deliveries of `mix`.
    pub(super) fn plan(self, mix: Mix) -> Result<Self> {
        let Self { gitlab, client, shops, planned: _ } = self;
        let mut planned: Vec<Planned> = Vec::new();
        for index in 0..usize::try_from(mix.schedule.requests)? {
            let shop = index % PROJECTS;
            let news = mix.news(index);
            let delivery = match news {
                News::Push(number) => {
                    let commit = shops[shop].commits.get(number).context("too few commits")?;
                    push(&gitlab, &shops[shop], "main", commit)
                }
                News::OtherRef => push(&gitlab, &shops[shop], &format!("topic/{index}"), samples::COMMIT),
                News::Again => {
                    let is_last = |it: &&Planned| it.shop == shop && matches!(it.news, News::Push(_));
                    let last = planned.iter().rev().find(is_last).context("nothing was told yet")?;
                    last.delivery.clone()
                }
            };
            planned.push(Planned { shop, news, delivery, pushed_at: OnceLock::new() });
        }
        Ok(Self { gitlab, client, shops, planned })
    }

    /// Signs them as of now. They are good for some minutes.
    pub(super) fn sign(mut self) -> Result<Self> {
        let now = Timestamp::now();
        for planned in &mut self.planned {
            let secret = &self.shops[planned.shop].secret;
            planned.delivery = planned.delivery.clone().signed(secret, now)?;
        }
        Ok(self)
    }

    /// Sends a delivery about a branch that goes nowhere, before anything is measured.
    pub(super) async fn warm_up(self: Arc<Self>, index: u32) -> Result<(), String> {
        let number = usize::try_from(index).map_err(|error| error.to_string())?;
        let shop = &self.shops[number % PROJECTS];
        let delivery = push(&self.gitlab, shop, &format!("warm/{number}"), samples::COMMIT);
        let delivery = delivery.signed(&shop.secret, Timestamp::now()).map_err(|error| error.to_string())?;
        self.client.clone().deliver(&shop.url, delivery).await
    }

    /// Makes the push that belongs to the delivery of this number, if one does, and sends it.
    pub(super) async fn send(self: Arc<Self>, index: u32) -> Result<(), String> {
        let number = usize::try_from(index).map_err(|error| error.to_string())?;
        let planned = self.planned.get(number).ok_or("there is no such delivery")?;
        let shop = &self.shops[planned.shop];
        if let News::Push(number) = planned.news {
            let (path, commit) = (&shop.project.path, &shop.commits[number]);
            let moved = self.gitlab.git().move_branch(path, "main", commit).await;
            moved.map_err(|error| format!("{error:#}"))?;
            planned.pushed_at.set(Timestamp::now()).map_err(|_| "pushed twice")?;
        }
        self.client.clone().deliver(&shop.url, planned.delivery.clone()).await
    }

    /// Every push that was made.
    pub(super) fn pushed(&self) -> Vec<Pushed> {
        let pushed = self.planned.iter().filter_map(|planned| match planned.news {
            News::Push(number) => {
                let at = *planned.pushed_at.get()?;
                Some(Pushed { shop: planned.shop, number, at })
            }
            News::Again | News::OtherRef => None,
        });
        pushed.collect()
    }

    /// The size of a delivery.
    pub(super) fn delivery_bytes(&self) -> usize {
        self.planned.first().map_or(0, |planned| planned.delivery.body.len())
    }
}

fn push(gitlab: &GitlabServer, shop: &Shop, branch: &str, commit: &str) -> Delivery {
    let payload = samples::gitlab_push(&shop.project, branch, commit);
    Delivery::gitlab("Push Hook", gitlab.url(), &payload)
}

impl Mix {
    /// What the delivery of this number tells. Pure.
    fn news(self, index: usize) -> News {
        let (shop, turn) = (index % PROJECTS, index / PROJECTS);
        // Each project pushes at a turn of its own, so that pushes are spread evenly.
        let first = shop % self.push_every;
        if turn >= first && (turn - first).is_multiple_of(self.push_every) {
            News::Push(self.first + (turn - first) / self.push_every + 1)
        } else if turn > first && turn.is_multiple_of(2) {
            News::Again
        } else {
            News::OtherRef
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn all(mix: Mix) -> Vec<News> {
        (0..usize::try_from(mix.schedule.requests).unwrap()).map(|index| mix.news(index)).collect()
    }

    #[test]
    fn enough_pushes_and_mostly_other_news() {
        for (mix, expected) in [(BUSY, 300..=800), (USUAL, 150..=250)] {
            let all = all(mix);
            let count = |wanted: fn(&News) -> bool| all.iter().filter(|news| wanted(news)).count();
            let pushes = count(|news| matches!(news, News::Push(_)));
            assert!(expected.contains(&pushes), "{pushes}");
            assert!(count(|news| *news == News::Again) > pushes);
            assert!(count(|news| *news == News::OtherRef) > pushes);
            let turns = u32::try_from(PROJECTS * mix.push_every).unwrap();
            let between = Duration::from_secs(1) * turns / mix.schedule.per_second;
            assert!(between > Duration::from_secs(2), "one push would overtake the other");
        }
    }

    #[test]
    fn the_commits_of_a_project_are_pushed_in_order_and_suffice() {
        for (mix, counts) in [(BUSY, 6..=PUSHES_OF_ONE_MAX), (USUAL, 3..=COMMITS - PUSHES_OF_ONE_MAX)] {
            for shop in 0..PROJECTS {
                let of_shop = all(mix).into_iter().skip(shop).step_by(PROJECTS);
                let numbers: Vec<usize> = of_shop
                    .filter_map(|news| match news {
                        News::Push(number) => Some(number),
                        News::Again | News::OtherRef => None,
                    })
                    .collect();
                let expected: Vec<usize> = (mix.first + 1..=mix.first + numbers.len()).collect();
                assert_eq!(numbers, expected);
                assert!(counts.contains(&numbers.len()), "{numbers:?}");
            }
        }
    }
}
