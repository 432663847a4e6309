"""The venues: one spelling each, its full name, its kind, and the other spellings that bibliographies use for it.

A new venue is one line here. Aliases are compared without case, punctuation, years and ordinals (`canonical_venue`).
"""

import re
from dataclasses import dataclass
from typing import Literal

VenueKind = Literal["conference", "journal", "preprint server", "workshop"]


@dataclass(frozen=True)
class Venue:
    """A place of publication: full name, kind, and spellings met in bibliographies."""

    name: str
    kind: VenueKind = "conference"
    aliases: tuple[str, ...] = ()


VENUES: dict[str, Venue] = {
    "AAAI": Venue("AAAI Conference on Artificial Intelligence"),
    "ACL": Venue(
        "Annual Meeting of the Association for Computational Linguistics",
        aliases=("ACL Main", "ACL/IJCNLP", "ACL Long"),
    ),
    "ACL Findings": Venue(
        "Findings of the Association for Computational Linguistics: ACL", aliases=("Findings of ACL", "Findings ACL")
    ),
    "ACM CSUR": Venue("ACM Computing Surveys", "journal", ("CSUR", "ACM Comput. Surv.")),
    "ACM MM": Venue("ACM International Conference on Multimedia", aliases=("ACM Multimedia", "MM")),
    "AISTATS": Venue("International Conference on Artificial Intelligence and Statistics"),
    "ASP-DAC": Venue("Asia and South Pacific Design Automation Conference", aliases=("ASPDAC",)),
    "ASPLOS": Venue(
        "ACM International Conference on Architectural Support for Programming Languages and Operating Systems"
    ),
    "BMVC": Venue("British Machine Vision Conference"),
    "COLING": Venue("International Conference on Computational Linguistics", aliases=("LREC-COLING",)),
    "CoLLAs": Venue("Conference on Lifelong Learning Agents"),
    "COLM": Venue("Conference on Language Modeling"),
    "CoNLL": Venue("Conference on Computational Natural Language Learning"),
    "CVPR": Venue("IEEE/CVF Conference on Computer Vision and Pattern Recognition"),
    "DAC": Venue("Design Automation Conference"),
    "DATE": Venue("Design, Automation and Test in Europe Conference"),
    "DEEM Workshop": Venue("Workshop on Data Management for End-to-End Machine Learning", "workshop", ("DEEM",)),
    "EACL": Venue("Conference of the European Chapter of the Association for Computational Linguistics"),
    "ECCV": Venue("European Conference on Computer Vision"),
    "EMNLP": Venue("Conference on Empirical Methods in Natural Language Processing"),
    "EMNLP Findings": Venue(
        "Findings of the Association for Computational Linguistics: EMNLP", aliases=("Findings of EMNLP",)
    ),
    "Empirical Software Engineering": Venue("Empirical Software Engineering", "journal", ("EMSE",)),
    "EuroSys": Venue("European Conference on Computer Systems"),
    "FAST": Venue("USENIX Conference on File and Storage Technologies"),
    "HPCA": Venue("IEEE International Symposium on High-Performance Computer Architecture"),
    "HPDC": Venue("International Symposium on High-Performance Parallel and Distributed Computing"),
    "ICASSP": Venue("IEEE International Conference on Acoustics, Speech and Signal Processing"),
    "ICCAD": Venue("IEEE/ACM International Conference on Computer-Aided Design"),
    "ICCV": Venue("IEEE/CVF International Conference on Computer Vision"),
    "ICCV Workshop": Venue("IEEE/CVF International Conference on Computer Vision Workshops", "workshop", ("ICCVW",)),
    "ICLR": Venue("International Conference on Learning Representations"),
    "ICLR Workshop": Venue("Workshop at the International Conference on Learning Representations", "workshop"),
    "ICME": Venue("IEEE International Conference on Multimedia and Expo"),
    "ICML": Venue("International Conference on Machine Learning"),
    "ICML Workshop": Venue("Workshop at the International Conference on Machine Learning", "workshop"),
    "ICPP": Venue("International Conference on Parallel Processing"),
    "IJCAI": Venue("International Joint Conference on Artificial Intelligence"),
    "INFOCOM": Venue("IEEE Conference on Computer Communications"),
    "IPDPS": Venue("IEEE International Parallel and Distributed Processing Symposium"),
    "ISCA": Venue("International Symposium on Computer Architecture"),
    "ISPASS": Venue("IEEE International Symposium on Performance Analysis of Systems and Software"),
    "JAMIA": Venue("Journal of the American Medical Informatics Association", "journal"),
    "JMLR": Venue("Journal of Machine Learning Research", "journal"),
    "KDD": Venue("ACM SIGKDD Conference on Knowledge Discovery and Data Mining", aliases=("SIGKDD",)),
    "MICCAI": Venue("International Conference on Medical Image Computing and Computer-Assisted Intervention"),
    "MICRO": Venue("IEEE/ACM International Symposium on Microarchitecture"),
    "Middleware": Venue("ACM/IFIP International Middleware Conference"),
    "MLSys": Venue("Conference on Machine Learning and Systems", aliases=("SysML",)),
    "MLSys Workshop": Venue("Workshop at the Conference on Machine Learning and Systems", "workshop"),
    "MobiCom": Venue("Annual International Conference on Mobile Computing and Networking"),
    "MobiSys": Venue("International Conference on Mobile Systems, Applications, and Services"),
    "NAACL": Venue("Conference of the North American Chapter of the Association for Computational Linguistics"),
    "NAACL Findings": Venue(
        "Findings of the Association for Computational Linguistics: NAACL", aliases=("Findings of NAACL",)
    ),
    "NeurIPS": Venue(
        "Advances in Neural Information Processing Systems",
        aliases=(
            "NIPS",
            "Conference on Neural Information Processing Systems",
            "Neural Information Processing Systems",
        ),
    ),
    "NeurIPS Workshop": Venue("Workshop at the Conference on Neural Information Processing Systems", "workshop"),
    "NSDI": Venue("USENIX Symposium on Networked Systems Design and Implementation"),
    "OSDI": Venue("USENIX Symposium on Operating Systems Design and Implementation"),
    "PPoPP": Venue("ACM SIGPLAN Symposium on Principles and Practice of Parallel Programming"),
    "PRCV": Venue("Chinese Conference on Pattern Recognition and Computer Vision"),
    "SC": Venue(
        "International Conference for High Performance Computing, Networking, Storage and Analysis",
        aliases=("Supercomputing",),
    ),
    "Science China Information Sciences": Venue("Science China Information Sciences", "journal", ("SCIS",)),
    "SenSys": Venue("ACM Conference on Embedded Networked Sensor Systems"),
    "SIGCOMM": Venue("ACM SIGCOMM Conference"),
    "SIGIR": Venue("ACM SIGIR Conference on Research and Development in Information Retrieval"),
    "SIGMETRICS": Venue("ACM SIGMETRICS Conference"),
    "SIGMOD": Venue("ACM SIGMOD International Conference on Management of Data", aliases=("PACMMOD",)),
    "SoCC": Venue("ACM Symposium on Cloud Computing"),
    "SOSP": Venue("ACM Symposium on Operating Systems Principles"),
    "TACL": Venue("Transactions of the Association for Computational Linguistics", "journal"),
    "TASLP": Venue("IEEE/ACM Transactions on Audio, Speech, and Language Processing", "journal", ("TASLPRO",)),
    "TechRxiv": Venue("TechRxiv", "preprint server"),
    "TIST": Venue("ACM Transactions on Intelligent Systems and Technology", "journal"),
    "TMC": Venue("IEEE Transactions on Mobile Computing", "journal", ("IEEE TMC",)),
    "TMLR": Venue("Transactions on Machine Learning Research", "journal"),
    "TNNLS": Venue("IEEE Transactions on Neural Networks and Learning Systems", "journal"),
    "TOSEM": Venue("ACM Transactions on Software Engineering and Methodology", "journal"),
    "TPAMI": Venue("IEEE Transactions on Pattern Analysis and Machine Intelligence", "journal"),
    "TPDS": Venue("IEEE Transactions on Parallel and Distributed Systems", "journal"),
    "UAI": Venue("Conference on Uncertainty in Artificial Intelligence"),
    "USENIX ATC": Venue("USENIX Annual Technical Conference", aliases=("ATC", "Annual Technical Conference")),
    "VLDB": Venue("Proceedings of the VLDB Endowment", "journal", ("PVLDB", "Very Large Data Bases")),
    "WACV": Venue("IEEE/CVF Winter Conference on Applications of Computer Vision"),
    "WWW": Venue("ACM Web Conference", aliases=("TheWebConf", "The Web Conference")),
}

_NOISE = re.compile(
    r"\b(proceedings|proc|of|the|in|on|and|for|ieee/cvf|ieee/acm|ieee|acm|annual|\d+(st|nd|rd|th)?)\b|[^a-z ]"
)


def _folded(text: str) -> str:
    return " ".join(_NOISE.sub(" ", text.casefold()).split())


_BY_SPELLING: dict[str, str] = {
    _folded(spelling): short
    for short, venue in VENUES.items()
    for spelling in (short, venue.name, *venue.aliases)
    if _folded(spelling)
}


def canonical_venue(text: str) -> str | None:
    """The vocabulary's spelling of a venue as bibliographies write it, or None where it is not known.

    >>> canonical_venue("Proceedings of the 40th International Conference on Machine Learning")
    'ICML'
    """
    spellings = [text]
    if "workshop" not in text.casefold():  # a workshop is not the conference that it names
        spellings.append(re.sub(r"\([^)]*\)", "", text).split(",")[0])
        # "(NeurIPS 2023)", and in lists by commas "SOSP 2023": with a year, as "SC" alone may be South Carolina.
        spellings += re.findall(r"\(([^)]*)\)", text) + re.findall(r",\s*([^,]*\d{4})\s*(?=,|$)", text)
    return next((_BY_SPELLING[name] for name in map(_folded, spellings) if name in _BY_SPELLING), None)
