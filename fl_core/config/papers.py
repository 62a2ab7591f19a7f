"""The papers that the methods are from, by the key that `titles.TITLES` gives each method.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Paper(NamedTuple):
    """One paper: the first author's last name, year, all authors, title, where, arXiv's number
    (empty: it is not there).
    """

    short: str
    year: int
    authors: str
    title: str
    venue: str
    arxiv: str


PAPERS: Mapping[str, Paper] = {
    "you2017": Paper(
        "You",
        2017,
        "Y. You, I. Gitman, B. Ginsburg",
        "Large Batch Training of Convolutional Networks",
        "arXiv",
        "1708.03888",
    ),
    "you2020": Paper(
        "You",
        2020,
        "Y. You, J. Li, S. Reddi, J. Hseu, S. Kumar, S. Bhojanapalli, X. Song, J. Demmel, "
        "K. Keutzer, C.-J. Hsieh",
        "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
        "ICLR",
        "1904.00962",
    ),
    "loshchilov2019": Paper(
        "Loshchilov",
        2019,
        "I. Loshchilov, F. Hutter",
        "Decoupled Weight Decay Regularization",
        "ICLR",
        "1711.05101",
    ),
    "mcmahan2017": Paper(
        "McMahan",
        2017,
        "B. McMahan, E. Moore, D. Ramage, S. Hampson, B. Agüera y Arcas",
        "Communication-Efficient Learning of Deep Networks from Decentralized Data",
        "AISTATS",
        "1602.05629",
    ),
    "li2020": Paper(
        "Li",
        2020,
        "T. Li, A. K. Sahu, M. Zaheer, M. Sanjabi, A. Talwalkar, V. Smith",
        "Federated Optimization in Heterogeneous Networks",
        "MLSys",
        "1812.06127",
    ),
    "karimireddy2020": Paper(
        "Karimireddy",
        2020,
        "S. P. Karimireddy, S. Kale, M. Mohri, S. J. Reddi, S. U. Stich, A. T. Suresh",
        "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning",
        "ICML",
        "1910.06378",
    ),
    "acar2021": Paper(
        "Acar",
        2021,
        "D. A. E. Acar, Y. Zhao, R. Matas Navarro, M. Mattina, P. N. Whatmough, V. Saligrama",
        "Federated Learning Based on Dynamic Regularization",
        "ICLR",
        "2111.04263",
    ),
    "zaccone2025": Paper(
        "Zaccone",
        2025,
        "R. Zaccone, S. P. Karimireddy, C. Masone, M. Ciccone",
        "Communication-Efficient Heterogeneous Federated Learning with Generalized Heavy-Ball "
        "Momentum",
        "TMLR",
        "2311.18578",
    ),
    "xu2021": Paper(
        "Xu",
        2021,
        "J. Xu, S. Wang, L. Wang, A. C.-C. Yao",
        "FedCM: Federated Learning with Client-level Momentum",
        "Preprint",
        "2106.10874",
    ),
    "hsu2019": Paper(
        "Hsu",
        2019,
        "T.-M. H. Hsu, H. Qi, M. Brown",
        "Measuring the Effects of Non-Identical Data Distribution for Federated Visual "
        "Classification",
        "Preprint",
        "1909.06335",
    ),
    "reddi2021": Paper(
        "Reddi",
        2021,
        "S. J. Reddi, Z. Charles, M. Zaheer, Z. Garrett, K. Rush, J. Konečný, S. Kumar, H. B. "
        "McMahan",
        "Adaptive Federated Optimization",
        "ICLR",
        "2003.00295",
    ),
    "stich2019": Paper(
        "Stich",
        2019,
        "S. U. Stich",
        "Local SGD Converges Fast and Communicates Little",
        "ICLR",
        "1805.09767",
    ),
    "lin2020": Paper(
        "Lin",
        2020,
        "T. Lin, S. U. Stich, K. K. Patel, M. Jaggi",
        "Don't Use Large Mini-Batches, Use Local SGD",
        "ICLR",
        "1808.07217",
    ),
    "wang2020": Paper(
        "Wang",
        2020,
        "J. Wang, V. Tantia, N. Ballas, M. Rabbat",
        "SlowMo: Improving Communication-Efficient Distributed SGD with Slow Momentum",
        "ICLR",
        "1910.00643",
    ),
    "douillard2023": Paper(
        "Douillard",
        2023,
        "A. Douillard, Q. Feng, A. A. Rusu, R. Chhaparia, Y. Donchev, A. Kuncoro, M. Ranzato, "
        "A. Szlam, J. Shen",
        "DiLoCo: Distributed Low-Communication Training of Language Models",
        "Preprint",
        "2311.08105",
    ),
    "wang2019": Paper(
        "Wang",
        2019,
        "J. Wang, G. Joshi",
        "Adaptive Communication Strategies to Achieve the Best Error-Runtime Trade-off in "
        "Local-Update SGD",
        "MLSys",
        "1810.08313",
    ),
    "mccandlish2018": Paper(
        "McCandlish",
        2018,
        "S. McCandlish, J. Kaplan, D. Amodei, OpenAI Dota Team",
        "An Empirical Model of Large-Batch Training",
        "Preprint",
        "1812.06162",
    ),
    "arivazhagan2019": Paper(
        "Arivazhagan",
        2019,
        "M. G. Arivazhagan, V. Aggarwal, A. K. Singh, S. Choudhary",
        "Federated Learning with Personalization Layers",
        "Preprint",
        "1912.00818",
    ),
    "collins2021": Paper(
        "Collins",
        2021,
        "L. Collins, H. Hassani, A. Mokhtari, S. Shakkottai",
        "Exploiting Shared Representations for Personalized Federated Learning",
        "ICML",
        "2102.07078",
    ),
    "li2021bn": Paper(
        "X. Li",
        2021,
        "X. Li, M. Jiang, X. Zhang, M. Kamp, Q. Dou",
        "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization",
        "ICLR",
        "2102.07623",
    ),
    "li2021ditto": Paper(
        "T. Li",
        2021,
        "T. Li, S. Hu, A. Beirami, V. Smith",
        "Ditto: Fair and Robust Federated Learning Through Personalization",
        "ICML",
        "2012.04221",
    ),
    "cho2020": Paper(
        "Cho",
        2020,
        "Y. J. Cho, J. Wang, G. Joshi",
        "Client Selection in Federated Learning: Convergence Analysis and Power-of-Choice "
        "Selection Strategies",
        "Preprint",
        "2010.01243",
    ),
    "cho2023": Paper(
        "Cho",
        2023,
        "Y. J. Cho, P. Sharma, G. Joshi, Z. Xu, S. Kale, T. Zhang",
        "On the Convergence of Federated Averaging with Cyclic Client Participation",
        "ICML",
        "2302.03109",
    ),
    "yin2018": Paper(
        "Yin",
        2018,
        "D. Yin, Y. Chen, K. Ramchandran, P. Bartlett",
        "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates",
        "ICML",
        "1803.01498",
    ),
    "sun2019": Paper(
        "Sun",
        2019,
        "Z. Sun, P. Kairouz, A. T. Suresh, H. B. McMahan",
        "Can You Really Backdoor Federated Learning?",
        "Preprint",
        "1911.07963",
    ),
    "pillutla2022": Paper(
        "Pillutla",
        2022,
        "K. Pillutla, S. M. Kakade, Z. Harchaoui",
        "Robust Aggregation for Federated Learning",
        "IEEE Transactions on Signal Processing",
        "1912.13445",
    ),
    "blanchard2017": Paper(
        "Blanchard",
        2017,
        "P. Blanchard, E. M. El Mhamdi, R. Guerraoui, J. Stainer",
        "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent",
        "NeurIPS",
        "1703.02757",
    ),
    "elmhamdi2018": Paper(
        "El Mhamdi",
        2018,
        "E. M. El Mhamdi, R. Guerraoui, S. Rouault",
        "The Hidden Vulnerability of Distributed Learning in Byzantium",
        "ICML",
        "1802.07927",
    ),
    "nguyen2022": Paper(
        "Nguyen",
        2022,
        "J. Nguyen, K. Malik, H. Zhan, A. Yousefpour, M. Rabbat, M. Malek, D. Huba",
        "Federated Learning with Buffered Asynchronous Aggregation",
        "AISTATS",
        "2106.06639",
    ),
    "zaccone2022": Paper(
        "Zaccone",
        2022,
        "R. Zaccone, A. Rizzardi, D. Caldarola, M. Ciccone, B. Caputo",
        "Speeding up Heterogeneous Federated Learning with Sequentially Trained Superclients",
        "ICPR",
        "2201.10899",
    ),
    "bonawitz2017": Paper(
        "Bonawitz",
        2017,
        "K. Bonawitz, V. Ivanov, B. Kreuter, A. Marcedone, H. B. McMahan, S. Patel, D. Ramage, "
        "A. Segal, K. Seth",
        "Practical Secure Aggregation for Privacy-Preserving Machine Learning",
        "ACM CCS",
        "",
    ),
    "xie2019": Paper(
        "Xie",
        2019,
        "C. Xie, S. Koyejo, I. Gupta",
        "Asynchronous Federated Optimization",
        "Preprint",
        "1903.03934",
    ),
}
