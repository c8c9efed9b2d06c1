"""Full references of the papers, reports and books that texts cite by a short name.

Short names are the first author and year (``Galban 2012``), or an alias for the documents that this
project was built from (``iodine perfusion letter``).  `cited` finds them in a text; a test refuses
short names that do not stand here and references that nothing cites.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

CITATION = re.compile(
    r"\b([A-Z][\w'’-]+)(?:(?:,? et al\.?,?)|(?:(?:, [A-Z][\w'’-]+)*,? (?:and|&) [A-Z][\w'’-]+))?"
    r",? \(?((?:19|20)\d\d)\b"
)
"""First author, perhaps more of them, and year, as in ``Elam, Ravel & Sieber 2002``."""


@dataclass(frozen=True)
class Work:
    """One published document.

    Attributes
    ----------
    author
        Family name of the first author, or the group, as citations spell it; without accents.
    year
        Of publication, where the document says.
    title
        Of the document, in its own words.
    place
        Journal with volume and first page, or publisher.
    link
        DOI or PubMed Central number, where there is one.
    alias
        What texts call it instead of author and year.
    """

    author: str
    year: int | None
    title: str
    place: str
    link: str = ""
    alias: str = ""

    @property
    def short(self) -> str:
        """Name in texts, such as ``Galban 2012``."""
        return self.alias or f"{self.author} {self.year}"

    @property
    def entry(self) -> str:
        """One line of a list of references."""
        who = f"{self.author} {self.year}. " if self.author else ""
        link = f" {self.link}" if self.link else ""
        return f"{who}{self.title.rstrip('.')}. {self.place}.{link}"


IODINE_LETTER = Work(
    "Price",
    2022,
    "Persistent isolated impairment of gas transfer following COVID-19 pneumonitis "
    "relates to perfusion defects on dual-energy computed tomography",
    "ERJ Open Res 8:00224-2022",
    "doi:10.1183/23120541.00224-2022",
    alias="iodine perfusion letter",
)
SMALL_VESSEL_LETTER = Work(
    "",
    None,
    "Letter on blood volume in pulmonary vessels below 5 mm2 (BV5), need for oxygen and "
    "arterial blood gases of 50 patients in hospital with COVID-19",
    "Preliminary results after Lins 2020, without a public identifier",
    alias="small-vessel letter",
)
PRESS_RELEASE = Work(
    "RSNA",
    2020,
    "New research highlights blood clot dangers of COVID-19",
    "Press release of the Radiological Society of North America, 23 April",
    alias="thrombosis press release",
)
DYNAMIC_META_ANALYSIS = Work(
    "",
    None,
    "Meta-analysis of mean transit time and pulmonary blood flow in the lung (34 studies of CT and "
    "MRI), conference abstract",
    "discovery.researcher.life/article/209ed389cfc63211acc0f401145e4bd2",
    alias="dynamic perfusion meta-analysis",
)
WHITE_PAPER = Work(
    "",
    None,
    "CT:VQ - A Contrast-Free Breakthrough in Regional Pulmonary Ventilation and Perfusion Imaging",
    "White paper of 4DMedical on its product",
    alias="CT:VQ white paper",
)

GAS_TRANSFER_ATLAS = Work(
    "",
    None,
    "Impaired alveolar-capillary gas transfer (RBC:tissue-plasma, low TLco)",
    "Page of an atlas of long COVID for patients, without a public identifier",
    alias="gas transfer atlas",
)

WORKS: tuple[Work, ...] = (
    IODINE_LETTER,
    SMALL_VESSEL_LETTER,
    WHITE_PAPER,
    DYNAMIC_META_ANALYSIS,
    PRESS_RELEASE,
    GAS_TRANSFER_ATLAS,
    Work(
        "AAPM",
        2014,
        "Use of water equivalent diameter for calculating patient size and size-specific "
        "dose estimates (SSDE) in CT: report of task group 220",
        "American Association of Physicists in Medicine, report 220",
    ),
    Work(
        "Bates",
        1988,
        "Nonlinear regression analysis and its applications",
        "Wiley, New York",
        "doi:10.1002/9780470316757",
    ),
    Work(
        "Bechtel",
        2023,
        "Establishing a hemoglobin adjustment for 129Xe gas exchange MRI and MRS",
        "Magn Reson Med 90:1555",
        "doi:10.1002/mrm.29712, PMC10524939",
    ),
    Work(
        "Bland",
        1986,
        "Statistical methods for assessing agreement between two methods of clinical measurement",
        "Lancet 327:307",
        "doi:10.1016/S0140-6736(86)90837-8",
    ),
    Work(
        "Bland",
        1999,
        "Measuring agreement in method comparison studies",
        "Stat Methods Med Res 8:135",
        "doi:10.1177/096228029900800204",
    ),
    Work(
        "Boedeker",
        2007,
        "Application of the noise power spectrum in modern diagnostic MDCT: part I. "
        "Measurement of noise power spectra and noise equivalent quanta",
        "Phys Med Biol 52:4027",
        "doi:10.1088/0031-9155/52/14/002",
    ),
    Work(
        "Bonett",
        2000,
        "Sample size requirements for estimating Pearson, Kendall and Spearman correlations",
        "Psychometrika 65:23",
        "doi:10.1007/BF02294183",
    ),
    Work(
        "Breatnach",
        1984,
        "Dimensions of the normal human trachea",
        "AJR 142:903",
        "doi:10.2214/ajr.142.5.903",
    ),
    Work(
        "Cachier",
        2000,
        "3D non-rigid registration by gradient descent on a Gaussian-windowed similarity "
        "measure using convolutions",
        "IEEE Workshop on Mathematical Methods in Biomedical Image Analysis: 182",
    ),
    Work(
        "Castillo",
        2020,
        "Technical note: on the spatial correlation between robust CT-ventilation methods "
        "and SPECT ventilation",
        "Med Phys 47:5731",
    ),
    Work(
        "Castillo",
        2021,
        "Quantifying pulmonary perfusion from noncontrast computed tomography",
        "Med Phys 48:1804",
        "doi:10.1002/mp.14792",
    ),
    Work(
        "Chang",
        1962,
        "The normal roentgenographic measurement of the right descending pulmonary artery "
        "in 1,085 cases",
        "AJR 87:929",
    ),
    Work(
        "Christianson",
        2015,
        "Automated technique to measure noise in clinical CT examinations",
        "AJR 205:W93",
        "doi:10.2214/AJR.14.13613",
    ),
    Work(
        "Cochran",
        1954,
        "Some methods for strengthening the common chi-squared tests",
        "Biometrics 10:417",
        "doi:10.2307/3001616",
    ),
    Work(
        "Comaniciu",
        2002,
        "Mean shift: a robust approach toward feature space analysis",
        "IEEE Trans Pattern Anal Mach Intell 24:603",
        "doi:10.1109/34.1000236",
    ),
    Work(
        "Dakin",
        2008,
        "Regional pulmonary perfusion and the effects of gravity in humans and dogs by computed "
        "tomography",
        "PubMed Central PMC4294417",
        "PMC4294417",
    ),
    Work(
        "DeLong",
        1988,
        "Comparing the areas under two or more correlated receiver operating "
        "characteristic curves: a nonparametric approach",
        "Biometrics 44:837",
        "doi:10.2307/2531595",
    ),
    Work(
        "Ding",
        2012,
        "Comparison of image registration based measures of regional lung ventilation from "
        "dynamic spiral CT with Xe-CT",
        "Med Phys 39:5084",
        "doi:10.1118/1.4736808",
    ),
    Work(
        "Dirksen",
        1999,
        "A randomized clinical trial of alpha1-antitrypsin augmentation therapy",
        "Am J Respir Crit Care Med 160:1468",
    ),
    Work(
        "Eilers",
        1996,
        "Flexible smoothing with B-splines and penalties",
        "Stat Sci 11:89",
        "doi:10.1214/ss/1038425655",
    ),
    Work(
        "Elam",
        2002,
        "A new atomic database for X-ray spectroscopic calculations",
        "Radiat Phys Chem 63:121",
        "doi:10.1016/S0969-806X(01)00227-4",
    ),
    Work(
        "Estepar",
        2013,
        "Computed tomographic measures of pulmonary vascular morphology in smokers and "
        "their clinical implications",
        "Am J Respir Crit Care Med 188:231",
        "doi:10.1164/rccm.201301-0162OC",
    ),
    Work(
        "Favaloro",
        2020,
        "Reporting of D-dimer data in COVID-19: some confusion and potential for misinformation",
        "Clin Chem Lab Med 58:1191",
        "doi:10.1515/cclm-2020-0573",
    ),
    Work(
        "Fieller",
        1957,
        "Tests for rank correlation coefficients. I",
        "Biometrika 44:470",
        "doi:10.1093/biomet/44.3-4.470",
    ),
    Work(
        "Galban",
        2012,
        "Computed tomography-based biomarker provides unique signature for diagnosis of "
        "COPD phenotypes and disease progression",
        "Nat Med 18:1711",
        "doi:10.1038/nm.2971",
    ),
    Work(
        "Galvez",
        2016,
        "Dual-energy CT (DECT) pulmonary angiography in acute pulmonary thromboembolism "
        "(PTE): causes, semiology and potential diagnostic pitfalls",
        "J Adv Radiol Med Imaging 1:204",
    ),
    Work(
        "Gevenois",
        1995,
        "Comparison of computed density and macroscopic morphometry in pulmonary emphysema",
        "Am J Respir Crit Care Med 152:653",
    ),
    Work(
        "Grillet",
        2020,
        "Acute pulmonary embolism associated with COVID-19 pneumonia detected by "
        "pulmonary CT angiography",
        "Radiology 296:E186",
        "doi:10.1148/radiol.2020201544",
    ),
    Work(
        "Grist",
        2022,
        "Lung abnormalities detected with hyperpolarized 129Xe MRI in patients with long COVID",
        "Radiology 305:709",
        "doi:10.1148/radiol.220069",
    ),
    Work(
        "Grob",
        2019,
        "Imaging of pulmonary perfusion using subtraction CT angiography is feasible in "
        "clinical practice",
        "Eur Radiol 29:1408",
    ),
    Work(
        "Guo",
        2011,
        "A simple algorithm for fitting a Gaussian function",
        "IEEE Signal Process Mag 28(5):134",
    ),
    Work(
        "Hansell",
        2008,
        "Fleischner Society: glossary of terms for thoracic imaging",
        "Radiology 246:697",
        "doi:10.1148/radiol.2462070712",
    ),
    Work(
        "Hartley",
        1994,
        "High-resolution CT-derived measures of lung density are valid indexes of "
        "interstitial lung disease",
        "J Appl Physiol 76:271",
    ),
    Work(
        "Hoff",
        2017,
        "CT-based local distribution metric improves characterization of COPD",
        "Sci Rep 7:2999",
        "doi:10.1038/s41598-017-02871-1",
    ),
    Work(
        "Hofmanninger",
        2020,
        "Automatic lung segmentation in routine imaging is primarily a data diversity "
        "problem, not a methodology problem",
        "Eur Radiol Exp 4:50",
        "doi:10.1186/s41747-020-00173-2",
    ),
    Work(
        "Hu",
        2001,
        "Automatic lung segmentation for accurate quantitation of volumetric X-ray CT images",
        "IEEE Trans Med Imaging 20:490",
        "doi:10.1109/42.929615",
    ),
    Work(
        "Kasa",
        1976,
        "A circle fitting procedure and its error analysis",
        "IEEE Trans Instrum Meas 25:8",
    ),
    Work(
        "Keys",
        1981,
        "Cubic convolution interpolation for digital image processing",
        "IEEE Trans Acoust Speech Signal Process 29:1153",
        "doi:10.1109/TASSP.1981.1163711",
    ),
    Work(
        "Klooster",
        2020,
        "An integrative approach of the fissure completeness score and Chartis assessment "
        "in endobronchial valve treatment for emphysema",
        "Int J Chron Obstruct Pulmon Dis 15:1325",
        "doi:10.2147/COPD.S242210, PMC7294564",
    ),
    Work(
        "Koster",
        2016,
        "Predicting lung volume reduction after endobronchial valve therapy is maximized "
        "using a combination of diagnostic tools",
        "Respiration 92:150",
    ),
    Work(
        "Kurzawski",
        2012,
        "Simple cubic random-site percolation thresholds for complex neighbourhoods",
        "Rep Math Phys 70:163",
    ),
    Work(
        "Lederer",
        2009,
        "Cigarette smoking is associated with subclinical parenchymal lung disease: the "
        "Multi-Ethnic Study of Atherosclerosis (MESA)-lung study",
        "Am J Respir Crit Care Med 180:407",
        "doi:10.1164/rccm.200812-1966OC",
    ),
    Work(
        "Leewiwatwong",
        2025,
        "Establishing standardized healthy reference distributions and values for multisite 129Xe "
        "gas exchange MRI/MR spectroscopy at 3 T across major scanner platforms",
        "Magn Reson Med 94:1684",
        "doi:10.1002/mrm.30586, PMC12310359",
    ),
    Work(
        "Lennon",
        1965,
        "The height of the diaphragm in the chest radiograph of normal adults",
        "Br J Radiol 38:937",
    ),
    Work(
        "Leonard-Lorant",
        2020,
        "Acute pulmonary embolism in COVID-19 patients on CT angiography and "
        "relationship to D-dimer levels",
        "Radiology 296:E189",
        "doi:10.1148/radiol.2020201561",
    ),
    Work(
        "Lins",
        2020,
        "Assessment of small pulmonary blood vessels in COVID-19 patients using HRCT",
        "Acad Radiol 27:1449",
        "doi:10.1016/j.acra.2020.07.019",
    ),
    Work(
        "Lucas",
        1981,
        "An iterative image registration technique with an application to stereo vision",
        "International Joint Conference on Artificial Intelligence: 674",
    ),
    Work(
        "Lucy",
        1974,
        "An iterative technique for the rectification of observed distributions",
        "Astron J 79:745",
        "doi:10.1086/111605",
    ),
    Work(
        "Maurer",
        2003,
        "A linear time algorithm for computing exact Euclidean distance transforms of "
        "binary images in arbitrary dimensions",
        "IEEE Trans Pattern Anal Mach Intell 25:265",
        "doi:10.1109/TPAMI.2003.1177156",
    ),
    Work(
        "McGraw",
        1996,
        "Forming inferences about some intraclass correlation coefficients",
        "Psychol Methods 1:30",
        "doi:10.1037/1082-989X.1.1.30",
    ),
    Work(
        "Meier",
        1954,
        "On the theory of the indicator-dilution method for measurement of blood flow and volume",
        "J Appl Physiol 6:731",
        "doi:10.1152/jappl.1954.6.12.731",
    ),
    Work(
        "Miles",
        1991,
        "Measurement of tissue perfusion by dynamic computed tomography",
        "Br J Radiol 64:409",
        "doi:10.1259/0007-1285-64-761-409",
    ),
    Work(
        "Montaudon",
        2007,
        "Assessment of bronchial wall thickness and lumen diameter in human adults using "
        "multi-detector computed tomography: comparison with theoretical models",
        "J Anat 211:579",
    ),
    Work(
        "Morris",
        2021,
        "Altered pulmonary blood volume distribution as a biomarker for predicting outcomes "
        "in COVID-19 disease",
        "Eur Respir J 58:2004133",
        "doi:10.1183/13993003.04133-2020, PMC7908189",
    ),
    Work(
        "Mull",
        1984,
        "Mass estimation by computed tomography: physical density from CT numbers",
        "AJR 143:1101",
    ),
    Work(
        "Muller",
        1988,
        '"Density mask": an objective method to quantitate emphysema using computed tomography',
        "Chest 94:782",
    ),
    Work(
        "Murray",
        1926,
        "The physiological principle of minimum work: I. The vascular system and the cost "
        "of blood volume",
        "Proc Natl Acad Sci USA 12:207",
        "doi:10.1073/pnas.12.3.207",
    ),
    Work(
        "Ooi",
        2020,
        "Pulmonary thromboembolic disease in COVID-19 patients on CT pulmonary "
        "angiography - prevalence, pattern of disease and relationship to D-dimer",
        "Eur J Radiol 132:109336",
        "doi:10.1016/j.ejrad.2020.109336, PMC7537636",
    ),
    Work(
        "Otsu",
        1979,
        "A threshold selection method from gray-level histograms",
        "IEEE Trans Syst Man Cybern 9:62",
        "doi:10.1109/TSMC.1979.4310076",
    ),
    Work(
        "PIOPED",
        1990,
        "Value of the ventilation/perfusion scan in acute pulmonary embolism: results of "
        "the prospective investigation of pulmonary embolism diagnosis (PIOPED)",
        "JAMA 263:2753",
    ),
    Work(
        "Peduzzi",
        1996,
        "A simulation study of the number of events per variable in logistic regression analysis",
        "J Clin Epidemiol 49:1373",
        "doi:10.1016/S0895-4356(96)00236-3",
    ),
    Work(
        "Planquette",
        2022,
        "Adjusting D-dimer to lung disease extent to exclude pulmonary embolism in "
        "COVID-19 patients (Co-LEAD)",
        "Thromb Haemost 122:1888",
        "doi:10.1055/a-1768-4371",
    ),
    Work(
        "Poletti",
        2022,
        "Automated lung vessel segmentation reveals blood vessel volume redistribution in "
        "viral pneumonia",
        "Eur J Radiol 150:110259",
    ),
    Work(
        "Poludniowski",
        2021,
        "Technical note: SpekPy v2.0 - a software toolkit for modeling x-ray tube spectra",
        "Med Phys 48:3630",
        "doi:10.1002/mp.14945",
    ),
    Work(
        "Poschenrieder",
        2021,
        "Severe COVID-19 pneumonia: perfusion analysis in correlation with pulmonary "
        "embolism and vessel enlargement using dual-energy CT data",
        "PLoS One 16:e0252478",
        "doi:10.1371/journal.pone.0252478",
    ),
    Work(
        "Qanadli",
        2001,
        "New CT index to quantify arterial obstruction in pulmonary embolism: comparison "
        "with angiographic index and echocardiography",
        "AJR 176:1415",
        "doi:10.2214/ajr.176.6.1761415",
    ),
    Work(
        "Quezada-Feijoo",
        2021,
        "Elderly population with COVID-19 and the accuracy of clinical scales and "
        "D-dimer for pulmonary embolism: the OCTA-COVID study",
        "J Clin Med 10:5433",
        "doi:10.3390/jcm10225433",
    ),
    Work(
        "Reinhardt",
        2008,
        "Registration-based estimates of local lung tissue expansion compared to xenon CT "
        "measures of specific ventilation",
        "Med Image Anal 12:752",
        "doi:10.1016/j.media.2008.03.007",
    ),
    Work(
        "Revel",
        2022,
        "What level of D-dimers can safely exclude pulmonary embolism in COVID-19 "
        "patients presenting to the emergency department?",
        "Eur Radiol 32:2704",
        "doi:10.1007/s00330-021-08377-9, PMC8739682",
    ),
    Work(
        "Richardson",
        1972,
        "Bayesian-based iterative method of image restoration",
        "J Opt Soc Am 62:55",
        "doi:10.1364/JOSA.62.000055",
    ),
    Work(
        "Sato",
        2000,
        "TEASAR: tree-structure extraction algorithm for accurate and robust skeletons",
        "Pacific Conference on Computer Graphics and Applications: 281",
    ),
    Work(
        "Schlathoelter",
        2002,
        "Simultaneous segmentation and tree reconstruction of the airways for virtual bronchoscopy",
        "Proc SPIE 4684:103",
    ),
    Work(
        "Schouten",
        2013,
        "Diagnostic accuracy of conventional or age adjusted D-dimer cut-off values in "
        "older patients with suspected venous thromboembolism: systematic review and "
        "meta-analysis",
        "BMJ 346:f2492",
        "doi:10.1136/bmj.f2492, PMC3643284",
    ),
    Work(
        "Schroeder",
        2013,
        "Relationships between airflow obstruction and quantitative CT measurements of "
        "emphysema, air trapping, and airways in subjects with and without chronic "
        "obstructive pulmonary disease",
        "AJR 201:W460",
        "doi:10.2214/AJR.12.10102",
    ),
    Work(
        "Shaker",
        2004,
        "Volume adjustment of lung density by computed tomography scans in patients with emphysema",
        "Acta Radiol 45:417",
    ),
    Work(
        "Shrout",
        1979,
        "Intraclass correlations: uses in assessing rater reliability",
        "Psychol Bull 86:420",
        "doi:10.1037/0033-2909.86.2.420",
    ),
    Work(
        "Smith",
        1961,
        "Eigenvalues of a symmetric 3 x 3 matrix",
        "Commun ACM 4:168",
        "doi:10.1145/355578.366316",
    ),
    Work(
        "Steger",
        1998,
        "An unbiased detector of curvilinear structures",
        "IEEE Trans Pattern Anal Mach Intell 20:113",
        "doi:10.1109/34.659930",
    ),
    Work(
        "Sun",
        2014,
        "Fast implementation of DeLong's algorithm for comparing the areas under "
        "correlated receiver operating characteristic curves",
        "IEEE Signal Process Lett 21:1389",
        "doi:10.1109/LSP.2014.2337313",
    ),
    Work(
        "Tawhai",
        2004,
        "CT-based geometry analysis and finite element models of the human and ovine "
        "bronchial tree",
        "J Appl Physiol 97:2310",
        "doi:10.1152/japplphysiol.00520.2004",
    ),
    Work(
        "Thompson",
        1964,
        "Indicator transit time considered as a gamma variate",
        "Circ Res 14:502",
        "doi:10.1161/01.RES.14.6.502",
    ),
    Work(
        "Tilley",
        2002,
        "The measure of man and woman: human factors in design",
        "Wiley, New York",
    ),
    Work(
        "Usher",
        1969,
        "Intrauterine growth of live-born Caucasian infants at sea level: standards "
        "obtained from measurements in 7 dimensions of infants born between 25 and 44 weeks "
        "of gestation",
        "J Pediatr 74:901",
    ),
    Work(
        "Thomen",
        2015,
        "Regional ventilation changes in severe asthma after bronchial thermoplasty with 3He MR "
        "imaging and CT",
        "Radiology 274:250",
        "doi:10.1148/radiol.14140080",
    ),
    Work(
        "Wagner",
        1974,
        "Continuous distributions of ventilation-perfusion ratios in normal subjects "
        "breathing air and 100% O2",
        "J Clin Invest 54:54",
    ),
    Work(
        "Wasserthal",
        2023,
        "TotalSegmentator: robust segmentation of 104 anatomic structures in CT images",
        "Radiol Artif Intell 5:e230024",
        "doi:10.1148/ryai.230024",
    ),
    Work(
        "Weibel",
        1963,
        "Morphometry of the human lung",
        "Springer, Berlin",
    ),
    Work(
        "Wendland",
        1995,
        "Piecewise polynomial, positive definite and compactly supported radial functions "
        "of minimal degree",
        "Adv Comput Math 4:389",
        "doi:10.1007/BF02123482",
    ),
    Work(
        "Wilson",
        1927,
        "Probable inference, the law of succession, and statistical inference",
        "J Am Stat Assoc 22:209",
        "doi:10.1080/01621459.1927.10502953",
    ),
    Work(
        "Witkin",
        1983,
        "Scale-space filtering",
        "International Joint Conference on Artificial Intelligence: 1019",
    ),
    Work(
        "Wolak",
        2008,
        "Aortic size assessment by noncontrast cardiac computed tomography: normal limits "
        "by age, gender, and body surface area",
        "JACC Cardiovasc Imaging 1:200",
        "doi:10.1016/j.jcmg.2007.11.005",
    ),
    Work(
        "Wu",
        2003,
        "Tracer arrival timing-insensitive technique for estimating flow in MR perfusion-weighted "
        "imaging using singular value decomposition with a block-circulant deconvolution matrix",
        "Magn Reson Med 50:164",
        "doi:10.1002/mrm.10522",
    ),
    Work(
        "Yamada",
        2020,
        "Differences in lung and lobe volumes between supine and standing positions scanned "
        "with conventional and newly developed 320-detector-row upright CT: intra- "
        "individual comparison",
        "Respiration 99:598",
        "doi:10.1159/000507265, PMC7490509",
    ),
    Work(
        "Yuan",
        2012,
        "Lung cancer perfusion: can we measure pulmonary and bronchial circulation simultaneously?",
        "Eur Radiol 22:1665",
        "doi:10.1007/s00330-012-2414-5",
    ),
)


def short_names(text: str) -> set[str]:
    """Short names of documents that a text mentions, known or not.

    Parameters
    ----------
    text
        Anything; line breaks may fall within a name.

    Returns
    -------
    names
        Such as ``Galban 2012`` or ``iodine perfusion letter``.
    """
    flat = " ".join(text.split())
    found = {f"{match[1]} {match[2]}" for match in CITATION.finditer(flat)}
    return found | {work.alias for work in WORKS if work.alias and work.alias in flat}


def cited(texts: Iterable[str]) -> tuple[Work, ...]:
    """Works that any of the texts mentions by their short name, in the order of `WORKS`."""
    names = set().union(*(short_names(text) for text in texts))
    return tuple(work for work in WORKS if work.short in names)
