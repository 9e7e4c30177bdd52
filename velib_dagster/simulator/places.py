"""Where simulated stations may stand: discs in the arrondissements of Paris and the communes around, and street names.

Plain facts, roughly rounded; it must hold no logic. The network draws its stations from here.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Area:
    """A disc in one arrondissement or commune; `weight` is its share of stations within Paris, or within the communes.

    Codes of its stations begin with `prefix` (times 1000); `business` is the share of stations where people work.
    """

    prefix: int
    commune: str
    insee: str
    lat: float
    lon: float
    radius_km: float
    weight: int
    business: float = 0.25
    leisure: float = 0.2


def _paris(number: int, lat: float, lon: float, radius_km: float, weight: int, business: float, leisure: float) -> Area:
    return Area(number, "Paris", "75056", lat, lon, radius_km, weight, business, leisure)


PARIS: Final = (
    _paris(1, 48.8609, 2.3428, 0.45, 26, 0.6, 0.3),
    _paris(2, 48.8674, 2.3482, 0.33, 25, 0.7, 0.2),
    _paris(3, 48.8641, 2.3591, 0.46, 15, 0.3, 0.4),
    _paris(4, 48.8557, 2.3538, 0.48, 26, 0.3, 0.5),
    _paris(5, 48.8443, 2.3507, 0.75, 36, 0.3, 0.4),
    _paris(6, 48.8471, 2.3321, 0.57, 33, 0.3, 0.4),
    _paris(7, 48.8556, 2.3146, 0.87, 28, 0.5, 0.3),
    _paris(8, 48.8722, 2.3127, 0.92, 53, 0.8, 0.15),
    _paris(9, 48.8769, 2.3354, 0.6, 46, 0.6, 0.2),
    _paris(10, 48.8757, 2.3598, 0.78, 53, 0.3, 0.3),
    _paris(11, 48.8582, 2.3786, 0.75, 57, 0.15, 0.3),
    _paris(12, 48.8396, 2.3909, 1.0, 66, 0.3, 0.15),
    _paris(13, 48.8277, 2.3616, 1.15, 67, 0.35, 0.1),
    _paris(14, 48.8300, 2.3263, 1.05, 55, 0.2, 0.15),
    _paris(15, 48.8412, 2.2913, 1.25, 90, 0.3, 0.1),
    _paris(16, 48.8667, 2.2788, 1.1, 62, 0.3, 0.2),
    _paris(17, 48.8891, 2.3137, 0.85, 62, 0.35, 0.1),
    _paris(18, 48.8920, 2.3416, 1.0, 61, 0.1, 0.2),
    _paris(19, 48.8880, 2.3836, 1.1, 63, 0.15, 0.2),
    _paris(20, 48.8664, 2.4002, 0.95, 68, 0.1, 0.2),
)

COMMUNES: Final = (
    Area(21, "Boulogne-Billancourt", "92012", 48.835, 2.241, 0.9, 29, 0.5),
    Area(21, "Clichy", "92024", 48.904, 2.306, 0.6, 13, 0.4),
    Area(21, "Issy-les-Moulineaux", "92040", 48.823, 2.269, 0.6, 22, 0.5),
    Area(21, "Montrouge", "92049", 48.816, 2.318, 0.5, 12, 0.4),
    Area(21, "Suresnes", "92073", 48.870, 2.224, 0.6, 10, 0.3),
    Area(21, "Vanves", "92075", 48.821, 2.290, 0.4, 7, 0.1),
    Area(22, "Bagneux", "92007", 48.797, 2.310, 0.6, 6, 0.1),
    Area(22, "La Garenne-Colombes", "92035", 48.907, 2.245, 0.4, 7, 0.1),
    Area(22, "Malakoff", "92046", 48.819, 2.299, 0.4, 7, 0.2),
    Area(22, "Neuilly-sur-Seine", "92051", 48.886, 2.267, 0.6, 13, 0.4),
    Area(23, "Levallois-Perret", "92044", 48.894, 2.287, 0.5, 11, 0.5),
    Area(24, "Courbevoie", "92026", 48.899, 2.256, 0.6, 7, 0.7),
    Area(25, "Rueil-Malmaison", "92063", 48.876, 2.183, 0.8, 10, 0.4),
    Area(26, "Asnières-sur-Seine", "92004", 48.914, 2.287, 0.6, 13, 0.1),
    Area(31, "Bagnolet", "93006", 48.869, 2.418, 0.5, 8, 0.1),
    Area(31, "Montreuil", "93048", 48.861, 2.443, 0.9, 23, 0.2),
    Area(32, "Romainville", "93063", 48.884, 2.437, 0.5, 5, 0.1),
    Area(32, "Saint-Denis", "93066", 48.934, 2.358, 0.9, 19, 0.4),
    Area(33, "Aubervilliers", "93001", 48.912, 2.383, 0.7, 13, 0.2),
    Area(34, "Saint-Ouen-sur-Seine", "93070", 48.909, 2.332, 0.5, 9, 0.3),
    Area(35, "Pantin", "93055", 48.896, 2.409, 0.6, 20, 0.3),
    Area(40, "Créteil", "94028", 48.783, 2.460, 0.9, 14, 0.3),
    Area(41, "Fontenay-sous-Bois", "94033", 48.852, 2.474, 0.7, 11, 0.3),
    Area(42, "Ivry-sur-Seine", "94041", 48.812, 2.388, 0.7, 17, 0.3),
    Area(43, "Vincennes", "94080", 48.847, 2.437, 0.5, 10, 0.1),
    Area(44, "Vitry-sur-Seine", "94081", 48.789, 2.395, 0.9, 16, 0.1),
    Area(47, "Maisons-Alfort", "94046", 48.806, 2.436, 0.6, 7, 0.1),
    Area(48, "Villejuif", "94076", 48.792, 2.363, 0.6, 11, 0.1),
    Area(92, "Nanterre", "92050", 48.893, 2.207, 0.9, 8, 0.6),
)

# fmt: off
STREETS: Final = (
    "Alésia", "Aqueduc", "Artistes", "Bac", "Barbanègre", "Beaux-Arts", "Belvédère", "Bourdonnais",
    "Buisson", "Carrières", "Cerisaie", "Charmes", "Chemin Vert", "Clef", "Colonnes", "Coteaux",
    "Couronnes", "Écoles", "Église", "Envierges", "Fabriques", "Fontaine", "Forges", "Gare", "Glacière",
    "Gobelins", "Grand Pré", "Halles", "Hôtel de Ville", "Jardins", "Jean Jaurès", "Jules Ferry", "Lavoir",
    "Lilas", "Louis Pasteur", "Mairie", "Manufacture", "Marché", "Marronniers", "Messageries", "Moulin",
    "Musée", "Observatoire", "Orangers", "Ourcq", "Parc", "Petit Pont", "Pivoines", "Plaine",
    "Poissonniers", "Port", "Pyramides", "Quatre Vents", "Rendez-vous", "République", "Roses",
    "Saint-Lambert", "Saules", "Sources", "Tanneries", "Théâtre", "Tilleuls", "Tuileries", "Vallon",
    "Verrerie", "Victor Hugo", "Vignes", "Voltaire",
)
# fmt: on
"""Names of streets and squares, two of which name a station."""
