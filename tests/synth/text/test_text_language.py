import pytest

from synth.text.languages import is_in, scripts

SENTENCES = {
    "de": "Der Zug fährt jeden Morgen um sieben Uhr vom Bahnhof ab und kommt gegen Mittag an.",
    "fr": "Le train quitte la gare chaque matin à sept heures et arrive vers midi dans la ville.",
    "en": "The train leaves the station every morning at seven and gets there around midday.",
    "ru": "Поезд отправляется со станции каждое утро в семь часов и прибывает около полудня.",
    "uk": "Потяг відправляється зі станції щоранку о сьомій годині й прибуває близько полудня.",
    "zh": "火车每天早上七点从车站出发，中午左右到达。",
    "ja": "電車は毎朝七時に駅を出発し、正午ごろに到着します。",
    "ko": "기차는 매일 아침 일곱 시에 역을 출발하여 정오쯤 도착합니다.",
    "el": "Το τρένο φεύγει κάθε πρωί στις επτά και φτάνει γύρω στο μεσημέρι.",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_each_language_is_told_from_all_others(language):
    found = {code: is_in(SENTENCES[language], code) for code in SENTENCES}
    assert found == {code: code == language for code in SENTENCES}


def test_names_and_code_in_another_script_do_not_count_for_half():
    text = "请用 Python 的 print 函数输出结果，然后说明每一步的作用和原因是什么。"
    assert is_in(text, "zh") is True
    assert is_in("print(x) # 打印", "zh") is False


def test_too_little_to_tell_is_neither():
    assert is_in("42 + 7", "de") is None
    assert is_in("Guten Tag", "de") is None and is_in("Guten Tag", "ru") is False
    assert is_in("", "zh") is None
    assert scripts("aб1 中") == {"LATIN": 1, "CYRILLIC": 1, "CJK": 1}
