//! Operators' stories on clusters: `etcdctl` must print the same on handfast as on etcd.

use handfast_tests::{
    Result,
    cluster::{Cluster, Program, Setup},
    harness::{Etcdctl, Output, Subject, target_directory},
    masked::masked,
};

/// Both clusters, of three members and a place for one more.
struct Pair {
    ours: Cluster,
    theirs: Cluster,
}

impl Pair {
    async fn start() -> Result<Self> {
        let start = async |subject| {
            // Nobody shall lose its leadership because the machine is busy.
            let setup = Setup::new(Program::of(subject)?, 3)
                .spares(1)
                .flag("--heartbeat-interval=300")
                .flag("--election-timeout=3000");
            setup.start().await
        };
        let (ours, theirs) = tokio::join!(start(Subject::under_test()), start(Subject::Etcd));
        Ok(Self {
            ours: ours?,
            theirs: theirs?,
        })
    }

    /// Tells the same story of both clusters; what it prints must be equal after masking.
    async fn same(mut self, story: impl AsyncFn(&mut Teller<'_>) -> Result<()>) -> Result<()> {
        let mut printed = Vec::new();
        for cluster in [&mut self.ours, &mut self.theirs] {
            let mut teller = Teller::new(cluster).await?;
            if let Err(error) = story(&mut teller).await {
                let logs = teller.cluster.logs(4);
                let so_far = teller.printed.join("\n");
                teller
                    .cluster
                    .keep_logs(&target_directory().join("histories/members"))?;
                return Err(format!("{error}\n{so_far}\n{logs}").into());
            }
            printed.push(teller.printed.join("\n"));
        }
        if printed[0] == printed[1] {
            return Ok(());
        }
        let both = printed[0].split("\n$ ").zip(printed[1].split("\n$ "));
        let differ: Vec<String> = both
            .filter(|(ours, theirs)| ours != theirs)
            .map(|(ours, theirs)| format!("--- ours\n{ours}\n--- etcd\n{theirs}"))
            .collect();
        Err(differ.join("\n\n").into())
    }
}

/// One cluster, and what was printed about it so far.
struct Teller<'a> {
    cluster: &'a mut Cluster,
    /// Member ids in hex, by place; empty where there is no member.
    ids: Vec<String>,
    leader: usize,
    printed: Vec<String>,
}

impl<'a> Teller<'a> {
    async fn new(cluster: &'a mut Cluster) -> Result<Self> {
        let leader = cluster.settled().await?.leader;
        let mut teller = Self {
            ids: vec![String::new(); cluster.size()],
            cluster,
            leader,
            printed: Vec::new(),
        };
        teller.learn_ids()?;
        Ok(teller)
    }

    /// A follower among those that founded the cluster.
    fn follower(&self) -> usize {
        (self.leader + 1) % 3
    }

    fn at(&self, member: usize) -> Etcdctl {
        Etcdctl::new(self.cluster.members()[member].address())
    }

    fn everywhere(&self) -> Etcdctl {
        let running = self.cluster.members().iter().filter(|it| it.is_awake());
        let addresses: Vec<&str> = running.map(|it| it.address()).collect();
        Etcdctl::new(addresses.join(","))
    }

    fn learn_ids(&mut self) -> Result<()> {
        let listed = self.at(self.leader).ok(&["member", "list"])?;
        for line in listed.lines() {
            let fields: Vec<&str> = line.split(", ").collect();
            let members = self.cluster.members().iter();
            let place = members
                .map(|it| it.peer_url())
                .position(|url| fields[3] == url);
            if let Some(place) = place {
                self.ids[place] = fields[0].to_owned();
            }
        }
        Ok(())
    }

    /// Runs a command at a member, and prints what it says; lines in any order.
    fn tell(&mut self, member: usize, words: &[&str]) -> Result<()> {
        let output = self.at(member).run(words, "")?;
        self.print(words, output)
    }

    /// Runs a command until the members are ready for it, and prints what it says then. etcd wants
    /// to have been connected for some seconds.
    fn tell_done(&mut self, member: usize, words: &[&str]) -> Result<()> {
        let output = self.done(member, words)?;
        self.print(words, output)
    }

    fn done(&self, member: usize, words: &[&str]) -> Result<Output> {
        let mut last = None;
        for _ in 0..100 {
            let output = self.at(member).run(words, "")?;
            let waits = ["unhealthy cluster", "not enough started members"];
            if !waits.iter().any(|why| output.stderr.contains(why)) {
                return Ok(output);
            }
            last = Some(output);
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        Err(format!("the members are never ready for {words:?}: {last:?}").into())
    }

    fn tell_everywhere(&mut self, words: &[&str]) -> Result<()> {
        let output = self.everywhere().run(words, "")?;
        self.print(words, output)
    }

    fn print(&mut self, words: &[&str], output: Output) -> Result<()> {
        let said = format!("{}\n{}", output.stdout, output.stderr);
        let mut lines: Vec<String> = said
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with("{\"level\""))
            .map(|line| self.mask(line))
            .collect();
        // Members are listed by their ids, which differ.
        lines.sort();
        let command = self.mask(&words.join(" "));
        let code = output.code;
        self.printed
            .push(format!("$ {command} ({code})\n{}", lines.join("\n")));
        Ok(())
    }

    /// Names and addresses become roles, since another member may lead the other cluster.
    fn mask(&self, text: &str) -> String {
        let mut names: Vec<(String, String)> = Vec::new();
        for (place, member) in self.cluster.members().iter().enumerate() {
            let role = match place {
                3.. => "new",
                _ if place == self.leader => "leader",
                _ if place == self.follower() => "follower",
                _ => "other",
            };
            names.push((member.peer_url(), format!("<peer of {role}>")));
            names.push((member.endpoint(), format!("<{role}>")));
            names.push((member.address().to_owned(), format!("<{role}>")));
            names.push((member.name().to_owned(), format!("<name of {role}>")));
            if !self.ids[place].is_empty() {
                names.push((self.ids[place].clone(), format!("<id of {role}>")));
            }
        }
        let names: Vec<(&str, &str)> = names.iter().map(|(a, b)| (&**a, &**b)).collect();
        // An id that begins with zeros is shorter, and padded in some places.
        masked(text, &names).replace("  ", " ")
    }

    /// The `--initial-cluster` of the member that joins: the order of its entries is free.
    fn with_new(&self) -> String {
        let new = &self.cluster.members()[3];
        format!(
            "{},{}={}",
            self.cluster.founders(),
            new.name(),
            new.peer_url()
        )
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_refused_in_the_same_words() -> Result<()> {
    Pair::start()
        .await?
        .same(async |teller| {
            let (leader, follower) = (teller.leader, teller.follower());
            let voter = teller.ids[follower].clone();
            let taken = teller.cluster.members()[leader].peer_url();
            for at in [leader, follower] {
                teller.tell(at, &["member", "list"])?;
                teller.tell(at, &["member", "add", "x"])?;
                teller.tell_done(at, &["member", "add", "x", &format!("--peer-urls={taken}")])?;
                teller.tell(at, &["member", "add", "x", "--peer-urls=foo"])?;
                teller.tell(at, &["member", "add", "x", "--peer-urls=http://foo"])?;
                teller.tell(at, &["member", "remove", "1234"])?;
                teller.tell(at, &["member", "remove", "zz"])?;
                teller.tell(at, &["member", "promote", "1234"])?;
                teller.tell(at, &["member", "promote", &voter])?;
                let free = "--peer-urls=http://127.0.0.1:5";
                teller.tell(at, &["member", "update", "1234", free])?;
                let clash = format!("--peer-urls={taken}");
                teller.tell(at, &["member", "update", &voter, &clash])?;
            }
            teller.tell(leader, &["move-leader", "1234"])?;
            teller.tell(follower, &["move-leader", &voter])?;
            teller.tell(leader, &["move-leader", "zz"])
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_moved_and_a_peer_url_changed() -> Result<()> {
    Pair::start()
        .await?
        .same(async |teller| {
            let (leader, follower) = (teller.leader, teller.follower());
            let own = teller.ids[leader].clone();
            let target = teller.ids[follower].clone();
            teller.tell(leader, &["move-leader", &own])?;
            teller.tell_everywhere(&["move-leader", &target])?;
            let now = teller.cluster.settled().await?;
            assert_eq!(now.leader, follower, "the member that was asked for leads");
            teller.tell(leader, &["put", "after", "moving"])?;
            teller.tell(leader, &["get", "after"])?;
            teller.tell(leader, &["move-leader", &own])?;
            let elsewhere = "--peer-urls=http://127.0.0.1:9,http://127.0.0.1:10";
            teller.tell_done(leader, &["member", "update", &own, elsewhere])?;
            teller.tell(leader, &["member", "list"])
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_joins_serves_little_is_promoted_and_removed() -> Result<()> {
    Pair::start()
        .await?
        .same(async |teller| {
            let (leader, follower) = (teller.leader, teller.follower());
            teller.tell(leader, &["put", "before", "joining"])?;
            let url = format!("--peer-urls={}", teller.cluster.members()[3].peer_url());
            // The order of the members in what it prints is free.
            teller.done(follower, &["member", "add", "m3", "--learner", &url])?;
            teller.learn_ids()?;
            let new = teller.ids[3].clone();
            teller.tell(leader, &["member", "list"])?;
            let second = "--peer-urls=http://127.0.0.1:5";
            teller.tell_done(leader, &["member", "add", "y", "--learner", second])?;
            teller.tell_done(leader, &["member", "promote", &new])?;
            teller.tell_everywhere(&["move-leader", &new])?;
            let cluster = teller.with_new();
            teller.cluster.join(3, &cluster)?;
            serves(teller, 3)?;
            teller.tell(3, &["put", "at", "learner"])?;
            teller.tell(3, &["get", "before"])?;
            teller.tell(3, &["get", "before", "--consistency=s"])?;
            teller.tell(3, &["member", "list"])?;
            teller.tell(3, &["lease", "grant", "10"])?;
            teller.tell(3, &["endpoint", "health"])?;
            teller.tell(3, &["alarm", "list"])?;
            teller.tell_everywhere(&["move-leader", &new])?;
            promoted(teller, &new)?;
            teller.tell(leader, &["member", "promote", &new])?;
            teller.tell(leader, &["member", "list"])?;
            teller.tell(3, &["put", "at", "voter"])?;
            teller.tell(3, &["get", "at"])?;
            teller.tell_done(follower, &["member", "remove", &new])?;
            teller.tell(follower, &["member", "remove", &new])?;
            teller.tell(follower, &["member", "list"])?;
            // A removed member ends by itself, and ends again when it is started again.
            teller.cluster.ended(3).await?;
            teller.cluster.join(3, &cluster)?;
            teller.cluster.ended(3).await?;
            teller.tell(leader, &["get", "at"])
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_is_added_and_the_leader_removed() -> Result<()> {
    Pair::start()
        .await?
        .same(async |teller| {
            let (leader, follower) = (teller.leader, teller.follower());
            let url = format!("--peer-urls={}", teller.cluster.members()[3].peer_url());
            teller.done(follower, &["member", "add", "m3", &url])?;
            teller.learn_ids()?;
            teller.tell(leader, &["member", "list"])?;
            let cluster = teller.with_new();
            teller.cluster.join(3, &cluster)?;
            teller.cluster.ready().await?;
            teller.tell(3, &["put", "at", "new"])?;
            teller.tell(3, &["member", "list"])?;
            let old = teller.ids[leader].clone();
            teller.tell_done(follower, &["member", "remove", &old])?;
            teller.cluster.ended(leader).await?;
            teller.cluster.ready().await?;
            let now = teller.cluster.settled().await?;
            assert_ne!(now.leader, leader);
            teller.tell(follower, &["get", "at"])?;
            teller.tell(follower, &["member", "list"])?;
            teller.tell(follower, &["put", "at", "the end"])
        })
        .await
}

/// Waits until a member answers a read of its own data that has the first key.
fn serves(teller: &Teller<'_>, member: usize) -> Result<()> {
    let mut last = None;
    for _ in 0..600 {
        let words = ["get", "before", "--consistency=s", "--command-timeout=1s"];
        let output = teller.at(member).run(&words, "")?;
        if output.code == 0 && !output.stdout.is_empty() {
            return Ok(());
        }
        last = Some(output);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Err(format!("m{member} does not serve: {last:?}").into())
}

/// Waits until the members know how a new one is called, which it tells them itself.
fn announced(teller: &Teller<'_>, id: &str) -> Result<()> {
    for _ in 0..600 {
        let list = teller.at(teller.leader).run(&["member", "list"], "")?;
        let known = list.stdout.lines().find(|line| line.starts_with(id));
        if known.is_some_and(|line| line.contains(", started,")) {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Err(format!("nobody learns the name of member {id}").into())
}

/// Asks for the promotion until the learner has caught up.
fn promoted(teller: &Teller<'_>, id: &str) -> Result<()> {
    let mut last = None;
    for _ in 0..600 {
        let output = teller
            .at(teller.leader)
            .run(&["member", "promote", id], "")?;
        if output.code == 0 {
            return announced(teller, id);
        }
        let waits = ["in sync with leader", "unhealthy cluster"];
        if !waits.iter().any(|why| output.stderr.contains(why)) {
            return Err(format!("the promotion fails otherwise: {output:?}").into());
        }
        last = Some(output);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Err(format!("the learner is never in sync: {last:?}").into())
}
