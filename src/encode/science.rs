//! A hundred short texts about science, ten of each of ten fields, so that a text has neighbours worth comparing where
//! no corpus is given. Made up for this purpose. Knows no tokenizer. Invariant: all texts differ.

/// The texts, field by field.
pub(super) const SCIENCE: [&str; 100] = [
    // Astronomy
    "Masses of white dwarfs in nearby open clusters from their gravitational redshift.",
    "A hot Jupiter on a retrograde orbit. The transit is seen twice, and the star spins the other way.",
    "The galaxy luminosity function at redshift six, from deep near-infrared imaging.",
    "Dust in protoplanetary disks settles before the first planets form.",
    "Timing of forty millisecond pulsars over eleven years bounds the background of gravitational waves.",
    "Metal-poor stars in the halo remember a merger ten billion years ago.",
    "Radio bursts that repeat: a search for periods in the arrival times of one source.",
    "Sunspots, flares and the rotation of the solar corona during a deep minimum.",
    "Weak lensing by clusters of galaxies and the amount of dark matter at their edges.",
    "An eclipsing binary of two brown dwarfs tests models of cooling.",
    // Particle and condensed-matter physics
    "Measurement of the top quark mass in events with two leptons.",
    "Neutrino oscillations at short baselines: no sign of a fourth kind.",
    "Spin waves in a triangular antiferromagnet seen by neutron scattering.",
    "Topological insulators under pressure lose their surface states.",
    "Flat bands in twisted bilayers of graphene and the onset of superconductivity.",
    "A lattice calculation of the proton's charge radius with physical quark masses.",
    "Phonons limit the mobility of electrons in two-dimensional semiconductors.",
    "Bose-Einstein condensation of magnons at room temperature.",
    "Jets in heavy-ion collisions lose energy to the quark-gluon plasma.",
    "Quantum Hall plateaus in a disordered wire with strong spin-orbit coupling.",
    // Chemistry and materials
    "A palladium catalyst couples aryl chlorides at room temperature and low loading.",
    "Metal-organic frameworks that take up water from dry desert air.",
    "Electrolytes for solid-state lithium batteries: grain boundaries carry the current.",
    "Enantioselective synthesis of a marine alkaloid in nine steps.",
    "Perovskite solar cells that keep their efficiency for a thousand hours in damp heat.",
    "Photocatalytic splitting of water on doped titanium dioxide.",
    "Polymers that heal: reversible bonds close a scratch within minutes.",
    "Machine-learned force fields reproduce the vibrational spectrum of liquid water.",
    "Corrosion of magnesium alloys in salt spray is slowed by a thin oxide coating.",
    "Click chemistry in living cells with strained alkynes and no copper.",
    // Molecular biology and genetics
    "Genome-wide association of blood pressure in half a million people finds ninety loci.",
    "Cryo-electron microscopy of a ribosome stalled by an antibiotic.",
    "Off-target cuts of a gene editor are rarer with a shortened guide RNA.",
    "Single-cell sequencing of the developing mouse heart shows two waves of progenitors.",
    "Folding of membrane proteins in the presence of a chaperone.",
    "Long non-coding RNAs silence one X chromosome in early embryos.",
    "DNA methylation in plants is inherited over many generations.",
    "Horizontal gene transfer between soil bacteria spreads resistance to tetracycline.",
    "The structure of a potassium channel in its open and closed states.",
    "Telomeres shorten with age in wild birds, faster in those that breed early.",
    // Medicine and public health
    "A randomized trial of early physiotherapy after stroke: independence at ninety days.",
    "Statins and the risk of diabetes, a meta-analysis of thirteen trials.",
    "Vaccination against human papillomavirus and cervical cancer before the age of thirty.",
    "Sleep apnoea in patients with heart failure who were admitted twice within a year.",
    "Deep learning reads chest radiographs as well as four radiologists do.",
    "Depression in adolescents after a year of school closures: a cohort study.",
    "Antibiotics for acute otitis media in children: watchful waiting is safe.",
    "Survival of patients with melanoma under combined immunotherapy.",
    "Air pollution and asthma in inner cities: hospital visits follow fine particles by two days.",
    "Hand washing by nurses, before and after a reminder at every bed.",
    // Ecology and earth science
    "Glaciers of the Andes lose a metre of ice each year, the small ones more.",
    "Pollinators in hedgerows: wild bees need flowers within three hundred metres.",
    "Methane from thawing permafrost lakes in two Siberian valleys.",
    "A record of monsoon rain in stalagmites reaches back two hundred thousand years.",
    "Wolves return and young aspens grow along the streams again.",
    "Ocean acidification thins the shells of pteropods in the Southern Ocean.",
    "Earthquake swarms below a volcano without an eruption.",
    "Fish catches under changing temperatures: species move north by six kilometres a year.",
    "Soil carbon under no-till farming after thirty years.",
    "Invasive ants displace native ones on islands, unless the forest is old.",
    // Computer science: language and learning
    "Pre-training of transformers on scientific abstracts improves citation recommendation.",
    "Neural machine translation for languages with few parallel sentences.",
    "Named entity recognition in clinical notes with weak supervision.",
    "Contrastive learning of sentence embeddings from paraphrases and hard negatives.",
    "Question answering over tables by writing programs.",
    "Attention heads that copy: what induction circuits do in small language models.",
    "Image segmentation with few labels through consistency of augmented views.",
    "Graph neural networks predict the properties of molecules they have not seen.",
    "Reinforcement learning of robot grasping in simulation and its transfer to real arms.",
    "Calibration of classifiers under shift: temperatures that hold on the old data fail on the new.",
    // Computer science: systems, theory, security
    "A log-structured merge tree that keeps its tail latency low under heavy deletes.",
    "Lower bounds for comparison-based sorting in external memory.",
    "Consensus among faulty replicas with two message delays.",
    "Side channels in shared caches reveal keys of a neighbour's virtual machine.",
    "A type system for borrowed references that rules out data races.",
    "Scheduling of jobs with deadlines on heterogeneous clusters.",
    "Lattice-based signatures that fit into one network packet.",
    "Fuzzing of network protocol parsers finds forty faults that tests had missed.",
    "Approximate nearest neighbours in high dimensions by navigable graphs.",
    "Energy use of data centres: idle servers burn half of it.",
    // Mathematics and statistics
    "On the number of rational points of curves of genus three.",
    "Random matrices with heavy tails: the largest eigenvalue is not universal.",
    "A short proof of the four-vertex theorem for polygons.",
    "Regularity of minimal surfaces near their singular set.",
    "Bayesian inference for stochastic differential equations with missing observations.",
    "False discovery rates when tests depend on each other.",
    "Cohomology of arithmetic groups and the Langlands correspondence.",
    "Convergence of Markov chains on graphs with bottlenecks.",
    "Optimal transport between measures on trees has a closed form.",
    "Prime gaps: bounded intervals hold many primes infinitely often.",
    // Social science, economics and the humanities
    "Minimum wages and employment in border counties.",
    "Voter turnout rises with the weather, though less among the young.",
    "Trust among neighbours in divided towns: a survey before and after a wall came down.",
    "Monetary policy at the zero lower bound and the price of houses.",
    "Trade routes of the Hanse in the letters of a merchant's widow.",
    "Reading aloud to children at home and their grades at the age of ten.",
    "Dialects of island villages: a vowel shift within two generations.",
    "Do patents slow research that builds on them? Evidence from court rulings.",
    "Painters' workshops in the sixteenth century and the division of their labour.",
    "Women in parliaments: quotas change who is asked, not only who is elected.",
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::SCIENCE;

    #[test]
    fn all_texts_differ() {
        assert_eq!(SCIENCE.iter().collect::<HashSet<_>>().len(), SCIENCE.len());
    }
}
